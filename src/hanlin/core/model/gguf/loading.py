"""A model of a GGUF file: its keys become a config.json, its tensors our parameters, tensor by tensor."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import torch

from hanlin.core.model.gguf.architectures import known_architectures
from hanlin.core.model.gguf.keys import ROPE_FACTORS, Keys
from hanlin.core.model.gguf.reader import GgufFile, open_gguf
from hanlin.core.model.pretrained import empty_model, give_weights
from hanlin.core.model.weights import Layout, layout, split, stored_shape
from hanlin.core.run.errors import HanlinError

IGNORED = (ROPE_FACTORS,)
"""Tensors that are read with the config, not as parameters."""


def fill(model: Any, state: GgufState, dtype: torch.dtype | None = None) -> None:
    """Give a model without storage its parameters. dtype: None is float32."""
    give_weights(model, {name: state.read(name, dtype or torch.float32) for name in state})
    model.eval()


def open_gguf_weights(path: Path) -> tuple[Any, ModuleType, GgufState]:
    """A model without storage, its family, and its parameters' values, read when they are asked for."""
    file = open_gguf(path)
    architecture, config = config_of(file)
    family = architecture.FAMILY
    try:
        model = empty_model(family, config)
        wanted = layout(model, architecture.names(config))
    except (KeyError, TypeError, ValueError) as error:
        raise _unreadable(path, f"its config: {error} is missing or wrong") from None
    _check_tensors(model, file, wanted)
    return model, family, GgufState(model, file, wanted)


class GgufState(Mapping[str, torch.Tensor]):
    """Our parameters' values in a file, (float32) tensors made anew at each request."""

    def __init__(self, model: Any, file: GgufFile, wanted: Layout):
        self.file = file
        self._shapes = {name: parameter.shape for name, parameter in model.named_parameters()}
        self._places = {name: (key, parts) for key, parts in wanted.items() for name, _ in parts}

    def read(self, name: str, dtype: torch.dtype) -> torch.Tensor:
        key, parts = self._places[name]
        exact = any(part.add for _, part in parts)  # an offset is taken off before the number is rounded
        stored = self.file.tensor(key, torch.float32 if exact else dtype)
        return split(stored, parts, self._shapes)[name].to(dtype)

    def __getitem__(self, name: str) -> torch.Tensor:
        return self.read(name, torch.float32)

    def __iter__(self) -> Iterator[str]:
        return iter(self._shapes)

    def __len__(self) -> int:
        return len(self._shapes)


def config_of(file: GgufFile) -> tuple[ModuleType, dict[str, Any]]:
    """(the architecture's file here, config.json as transformers would write it)."""
    name, known = file.metadata.get("general.architecture"), known_architectures()
    if name not in known:
        raise HanlinError(
            f"{file.path}: unknown architecture {name or '(none)'}.",
            f"one of: {', '.join(sorted(known))}",
            "add its file in core/model/gguf/architectures/, or open the model's Hugging Face folder",
            "docs/families.md",
        )
    shapes = {tensor.name: tensor.shape for tensor in file.tensors.values()}
    factors = file.tensor(ROPE_FACTORS).tolist() if ROPE_FACTORS in file.tensors else None
    try:
        config = known[name].config(Keys(name, file.metadata, shapes, factors))
    except (KeyError, IndexError, TypeError, ValueError, ZeroDivisionError) as error:
        raise _unreadable(file.path, f"{error} is missing or wrong") from None
    return known[name], {**config, **_special_ids(file.metadata)}


def _special_ids(metadata: dict[str, Any]) -> dict[str, Any]:
    ids = {"bos_token_id": "bos", "eos_token_id": "eos", "pad_token_id": "padding"}
    return {ours: metadata.get(f"tokenizer.ggml.{theirs}_token_id") for ours, theirs in ids.items()}


def _check_tensors(model: Any, file: GgufFile, wanted: Layout) -> None:
    """Every tensor is known, there, and of the shape the keys call for."""
    shapes = {name: parameter.shape for name, parameter in model.named_parameters()}
    for name in file.tensors:
        if name not in wanted and name not in IGNORED and name not in _tied(model):
            raise _unreadable(file.path, f"it holds the tensor {name}, which this architecture does not know")
    for name, parts in wanted.items():
        if name not in file.tensors:
            raise _unreadable(file.path, f"it lacks the tensor {name}")
        found, expected = file.tensors[name].shape, stored_shape(parts, shapes)
        if found != expected:
            raise _unreadable(file.path, f"{name} has shape {found}, its keys say {expected}")


def _tied(model: Any) -> set[str]:
    return {"output.weight"} if getattr(model, "tied", {}) else set()


def _unreadable(path: Path, what: str) -> HanlinError:
    return HanlinError(
        f"{path}: {what}.", "a whole file of an architecture that is known", "get the file again from where it came",
        "docs/models.md",
    )  # fmt: skip
