"""Hanlin 翰林: the whole life of a language model in one program that a person can read.

import hanlin
model = hanlin.load("runs/base")
for piece in hanlin.generate(model, "人民之自由", max_tokens=64, temperature=0): print(piece, end="")
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

if TYPE_CHECKING:
    import torch
    from typing_extensions import TypeIs

    from hanlin.core.connect import Budget, Model, Remote
    from hanlin.core.generate.engine import Engine
    from hanlin.core.generate.local import Local
    from hanlin.core.model.pretrained import Pretrained
    from hanlin.core.run.artifact import Artifact

__all__ = ["__version__", "chat", "connect", "embed", "engine", "generate", "load", "make", "search"]
__version__ = "0.1.0"


def load(path: str | Path) -> Pretrained:
    """Open a run, a Hugging Face folder, a .gguf file, or an address of one, in float32.

    `model(ids)`: (B, T) int64 → logits (B, T, V)."""
    import torch

    from hanlin.core.model.opening import open_model

    return open_model(path, dtype=torch.float32)


def engine(model: Pretrained, adapters: Mapping[str, str | Path] | None = None, **options: Any) -> Engine:
    """Many texts of one model at once, beginnings shared. adapters: names and PEFT folders that requests can ask for.
    Keywords: those of hanlin.core.generate.options."""
    from hanlin.core.generate.engine import Engine
    from hanlin.core.generate.options import EngineOptions
    from hanlin.core.run.config import build

    return Engine(model, build(EngineOptions, options, "engine"), adapters)


@overload
def connect(model: str, key: str = "", budget: Budget | None = None, **connection: Any) -> Remote: ...
@overload
def connect(model: Pretrained | Engine, *, adapter: str = "") -> Local: ...
def connect(model: str | Pretrained | Engine, key: str = "", budget: Budget | None = None, **options: Any) -> Any:
    """One interface to every model: "openai:…", "anthropic:…", "gemini:…", "ollama:…", "http://host:port/v1#name", or
    one of your own. Keywords: those of hanlin.core.connect.remote.Connection; of your own, adapter. docs/connect.md"""
    if isinstance(model, str):
        from hanlin.core.connect import connect as connect_remote

        return connect_remote(model, key, budget, **options)
    from hanlin.core.generate.local import Local

    return Local(model, **options)


def generate(model: Pretrained | Engine | Model, prompt: str, *, adapter: str = "", **sampling: Any) -> Iterator[str]:
    """Continue plain text, piece by piece. Keywords: temperature, top_k, top_p, min_p, max_tokens, stop, seed and the
    others of hanlin.core.generate.sampling. With an engine, beginnings read before are not read again.
    adapter: one of the engine's, by name. A connected model that only answers takes the text as a question."""
    if _is_connected(model):
        return model.generate(prompt, **sampling, **({"adapter": adapter} if adapter else {}))
    from hanlin.core.generate.stream import text_prompt

    return _texts(model, lambda loaded: text_prompt(loaded, prompt), sampling, adapter)


def search(model: Pretrained, prompt: str, **options: Any) -> list[str]:
    """The likeliest continuations as a whole, best first. Keywords: those of hanlin.core.generate.search."""
    from hanlin.core.generate.search import Search, search_text
    from hanlin.core.generate.stream import text_prompt
    from hanlin.core.run.config import build

    return search_text(model, text_prompt(model, prompt), build(Search, options, "generate with search"))


def chat(
    model: Pretrained | Engine | Model, messages: list[dict[str, str]], *, adapter: str = "", **sampling: Any
) -> Iterator[str]:
    """Answer a conversation, piece by piece. adapter: one of an engine's, by name."""
    if _is_connected(model):
        return model.chat(messages, **sampling, **({"adapter": adapter} if adapter else {}))
    from hanlin.core.generate.stream import chat_prompt

    return _texts(model, lambda loaded: chat_prompt(loaded, messages), sampling, adapter)


def _is_connected(model: Pretrained | Engine | Model) -> TypeIs[Model]:
    from hanlin.core.connect.model import Model

    return isinstance(model, Model)


def _texts(
    model: Pretrained | Engine, prompt_of: Callable[[Pretrained], list[int]], values: dict[str, Any], adapter: str
) -> Iterator[str]:
    from hanlin.core.generate.adapters import unknown_adapter
    from hanlin.core.generate.engine import Engine
    from hanlin.core.generate.sampling import Sampling
    from hanlin.core.generate.stream import stream
    from hanlin.core.run.config import build

    sampling = build(Sampling, values, "generate")
    known = model.known if isinstance(model, Engine) else {"": model}
    if adapter not in known:
        raise unknown_adapter(adapter, known)
    prompt = prompt_of(known[adapter])
    if isinstance(model, Engine):
        return (piece.text for piece in model.stream(prompt, sampling, adapter=adapter))
    return (piece.text for piece in stream(model, prompt, sampling))


def embed(model: Pretrained, texts: Sequence[str], **options: Any) -> torch.Tensor:
    """Vectors of length 1 by an encoder, (N, C). Keywords: pool ("mean" or "first"), batch_tokens."""
    from hanlin.core.generate.embedding import embed as embed_texts

    return embed_texts(model, texts, **options)


def make(room: str, out: str | Path, **values: Any) -> Artifact:
    """Run one room as the command line does: `hanlin.make("pretrain", "runs/base", corpus="runs/corpus", ...)`."""
    from hanlin.workflow import make as make_room

    return make_room(room, values, Path(out))
