"""The models of one server, by the names clients ask for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from hanlin.core.generate.stream import reads_whole
from hanlin.core.model.encoder import Encoder
from hanlin.core.model.opening import open_model
from hanlin.core.model.pretrained import Pretrained
from hanlin.core.run.artifact import is_artifact, read_manifest
from hanlin.core.run.errors import HanlinError
from hanlin.core.text.tokenizer import Tokenizer
from hanlin.use.serve.backend import Served, ServedEncoder
from hanlin.use.serve.config import Serve
from hanlin.use.serve.embedder import EncoderThread
from hanlin.use.serve.errors import ApiError
from hanlin.use.serve.turns import Turns


class Models:
    """What is served. The first model is the one that answers where a request may leave the name out.

    Raises HanlinError when two have one name.
    """

    def __init__(self, served: Sequence[Served | ServedEncoder]):
        self.served = tuple(served)
        self._named: dict[str, tuple[Served | ServedEncoder, str]] = {}
        for model in self.served:
            self._name(model.name, model, "")
            for adapter in model.adapters if isinstance(model, Served) else ():
                self._name(adapter, model, adapter)

    def reader(self, name: str | None) -> tuple[Served | ServedEncoder, Tokenizer]:
        """The model of this name, or with the adapter of this name, and the tokenizer that goes with it. Raises
        ApiError 404 saying what is served."""
        model, adapter = self._found(name)
        return model, model.tokenizer_of(adapter) if isinstance(model, Served) else model.tokenizer

    def writer(self, name: str) -> tuple[Served, str]:
        """The model that writes and the adapter ("" for none) of this name. Raises ApiError 404, and 400 for an
        encoder."""
        model, adapter = self._found(name)
        if not isinstance(model, Served):
            message = f"The model {name!r} makes vectors and writes no text; ask it at /v1/embeddings."
            raise ApiError(400, message, param="model", code="unsupported_model")
        return model, adapter

    def encoder(self, name: str) -> ServedEncoder:
        """The encoder of this name. Raises ApiError 404, and 400 for a model that writes."""
        model, _ = self._found(name)
        if not isinstance(model, ServedEncoder):
            message = f"The model {name!r} writes text and makes no vectors; /v1/embeddings needs an encoder."
            raise ApiError(400, message, param="model", code="unsupported_model")
        return model

    def cards(self, config: Serve) -> list[dict[str, Any]]:
        """The entries of /v1/models: each model, its adapters behind it."""
        return [card_of(model, name, adapter, config) for name, (model, adapter) in self._named.items()]

    def card(self, name: str, config: Serve) -> dict[str, Any]:
        """One entry. Raises ApiError 404."""
        model, adapter = self._found(name)
        return card_of(model, name, adapter, config)

    @property
    def num_jobs(self) -> int:
        """Replies being made or waiting, of all models."""
        return sum(model.backend.num_jobs for model in self.served if isinstance(model, Served))

    def close(self) -> None:
        for model in self.served:
            (model.backend if isinstance(model, Served) else model.embedder).close()

    def _name(self, name: str, model: Served | ServedEncoder, adapter: str) -> None:
        if name in self._named:
            raise HanlinError(
                f"Two models are called {name!r}.",
                "a name of its own for each model and adapter",
                "hanlin serve … name=… with another name",
                "src/hanlin/use/serve/README.md",
            )
        self._named[name] = (model, adapter)

    def _found(self, name: str | None) -> tuple[Served | ServedEncoder, str]:
        if name is None:
            return self.served[0], ""
        if name not in self._named:
            served = ", ".join(repr(known) for known in self._named)
            message = f"The model {name[:100]!r} is not served here. Served: {served}."
            raise ApiError(404, message, param="model", code="model_not_found")
        return self._named[name]


def open_models(main: str | Path, config: Serve) -> Models:
    """Load every model that is asked for, each once. Raises HanlinError for one that can't be served, and for two of
    one name."""
    name = config.name or Path(main).resolve().name
    adapters = {adapter: Path(path) for adapter, path in config.adapters.items()}
    first = served_model(open_model(main, torch.float32), name, config, adapters)
    others = [served_model(open_model(path, torch.float32), other, config) for other, path in config.models.items()]
    return Models([first, *others])


def served_model(
    loaded: Pretrained, name: str, config: Serve, adapters: Mapping[str, Path] | None = None
) -> Served | ServedEncoder:
    """A loaded model behind our own engine, or in an encoder's thread."""
    if is_encoder(loaded):
        return ServedEncoder(name, loaded.path, loaded.tokenizer, loaded.context, EncoderThread(loaded))
    turns = Turns(loaded, config.engine, adapters)
    whole, own = reads_whole(loaded), turns.tokenizers
    return Served(name, loaded.path, loaded.tokenizer, loaded.context, turns, adapters or {}, whole, own)


def is_encoder(loaded: Pretrained) -> bool:
    model: object = loaded.model
    return isinstance(model, Encoder)


def card_of(model: Served | ServedEncoder, name: str, adapter: str, config: Serve) -> dict[str, Any]:
    """An entry of /v1/models. From `parent` on the fields are ours; the page reads them."""
    path = model.adapters[adapter] if isinstance(model, Served) and adapter else model.path
    return {
        "id": name,
        "object": "model",
        "created": int(path.stat().st_mtime) if path.exists() else 0,
        "owned_by": "hanlin",
        "parent": model.name if adapter else None,
        "context_length": model.context,
        "max_tokens": config.max_tokens if isinstance(model, Served) else 0,
        "chat": isinstance(model, Served) and (bool(adapter) or answers_chats(model)),
        "embeddings": isinstance(model, ServedEncoder),
    }


def answers_chats(model: Served | Pretrained) -> bool:
    """False for a base model: it continues text. Every endpoint works with both; this decides how the page opens."""
    is_base = is_artifact(model.path) and read_manifest(model.path).room == "pretrain"
    return bool(model.tokenizer.chat_template) and not is_base
