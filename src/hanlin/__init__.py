"""Hanlin 翰林: the whole life of a language model in one program that a person can read.

import hanlin
model = hanlin.load("runs/base")
for piece in hanlin.generate(model, "人民之自由", max_tokens=64, temperature=0): print(piece, end="")
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hanlin.core.model.pretrained import Pretrained
    from hanlin.core.run.artifact import Artifact

__all__ = ["__version__", "chat", "generate", "load", "make"]
__version__ = "0.1.0"


def load(path: str | Path) -> Pretrained:
    """Open a run, a Hugging Face folder, a .gguf file, or an address of one, in float32.

    `model(ids)`: (B, T) int64 → logits (B, T, V)."""
    import torch

    from hanlin.core.model.opening import open_model

    return open_model(path, dtype=torch.float32)


def generate(model: Pretrained, prompt: str, **sampling: Any) -> Iterator[str]:
    """Continue plain text, piece by piece. Keywords: temperature, top_k, top_p, min_p, max_tokens, stop, seed."""
    from hanlin.core.generate.stream import stream, text_prompt

    return (piece.text for piece in stream(model, text_prompt(model, prompt), _sampling(sampling)))


def chat(model: Pretrained, messages: list[dict[str, str]], **sampling: Any) -> Iterator[str]:
    """Answer a conversation, piece by piece."""
    from hanlin.core.generate.stream import chat_prompt, stream

    return (piece.text for piece in stream(model, chat_prompt(model, messages), _sampling(sampling)))


def make(room: str, out: str | Path, **values: Any) -> Artifact:
    """Run one room as the command line does: `hanlin.make("pretrain", "runs/base", corpus="runs/corpus", ...)`."""
    from hanlin.workflow import make as make_room

    return make_room(room, values, Path(out))


def _sampling(values: dict[str, Any]):
    from hanlin.core.generate.sampling import Sampling
    from hanlin.core.run.config import build

    return build(Sampling, values, "generate")
