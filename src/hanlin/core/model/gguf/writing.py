"""A model as one GGUF file that llama.cpp and Ollama open: weights, tokenizer and chat template together."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch

from hanlin.core.model.ggml import F16, F32, TYPES, TensorType, decode, encode
from hanlin.core.model.gguf.architectures import architecture_of, known_architectures
from hanlin.core.model.gguf.container import Entry, Value, write
from hanlin.core.model.pretrained import Pretrained, empty_model, give_weights
from hanlin.core.model.weights import join, layout, split, stored_shape
from hanlin.core.run.errors import HanlinError
from hanlin.core.text.gguf_metadata import tokenizer_metadata
from hanlin.core.text.tokenizer import Tokenizer

F16_GREATEST = 65_504.0
MORE = "src/hanlin/shape/quantize/README.md"
FINER = {"q4_k": "q6_k", "q5_k": "q6_k"}
"""What embedding and head get in a file of these types, as in llama.cpp: an error there reaches every token."""
NARROW = {"q4_k": "q5_0", "q5_k": "q5_1", "q6_k": "q8_0"}
"""What rows get that are no multiple of 256, as in llama.cpp."""


@dataclass(frozen=True)
class Source:
    """A model to write. model: gives names and shapes, and may have no storage. state: our parameters' values, fetched
    one tensor at a time, so a large model need not be in memory."""

    family: ModuleType
    model: Any
    state: Mapping[str, torch.Tensor]
    tokenizer: Tokenizer
    name: str = ""
    generation: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Stored:
    """One tensor of the file: its name, our parameters in it, shape (as in PyTorch) and type."""

    name: str
    parts: list
    shape: tuple[int, ...]
    kind: TensorType


def export_gguf(
    path: Path,
    loaded: Pretrained,
    kind: TensorType,
    name: str = "",
    licence: str = "",
    tick: Callable[[int], None] = lambda done: None,
) -> int:
    """Write `loaded` to `path` with its matrices as `kind`; return the file's bytes.

    name, licence: shown by the programs that open it. tick: called with the number of tensors written.
    Raises HanlinError for an architecture llama.cpp has not, for weights the type can't hold and for a tokenizer
    llama.cpp would read differently.
    """
    source = Source(loaded.family, loaded.model, parameters_of(loaded.model), loaded.tokenizer, loaded.path.name)
    return write_gguf(path, source, kind, name, licence, tick)


def write_gguf(
    path: Path,
    source: Source,
    kind: TensorType,
    name: str = "",
    licence: str = "",
    tick: Callable[[int], None] = lambda done: None,
) -> int:
    """`export_gguf` for any source of weights."""
    architecture = _architecture(source)
    metadata: dict[str, Value] = {
        **_general(architecture, kind, name or source.name, licence),
        **{f"{architecture}.{key}": value for key, value in _metadata(source, architecture).items()},
        **tokenizer_metadata(source.tokenizer, source.model.vocab_size),
    }
    entries = [
        Entry(stored.name, stored.shape, stored.kind, partial(_encoded, stored, source.state))
        for stored in stored_tensors(source.model, source.family, kind)
    ]
    entries += [
        Entry(extra, tuple(tensor.shape), F32, partial(encode, tensor, F32))
        for extra, tensor in _extra_tensors(source, architecture).items()
    ]
    return write(path, metadata, entries, tick)


def parameters_of(model: Any) -> dict[str, torch.Tensor]:
    return {name: value.detach() for name, value in model.named_parameters()}


def stored_tensors(model: Any, family: ModuleType, kind: TensorType) -> Iterator[Stored]:
    """What a file of `kind` holds. A tied head is not stored: readers take the embedding."""
    architecture = architecture_of(family)
    assert architecture is not None, "the caller has asked for an architecture llama.cpp has"
    with _told(architecture):
        names = known_architectures()[architecture].names(model.config)
    shapes = {name: parameter.shape for name, parameter in model.named_parameters()}
    for name, parts in layout(model, names).items():
        shape = stored_shape(parts, shapes)
        yield Stored(name, parts, shape, type_for(name, shape, kind))


def type_for(name: str, shape: tuple[int, ...], wanted: TensorType) -> TensorType:
    """Vectors (norms, biases) and routers stay F32; embedding and head get a finer K-quant; rows that don't fill blocks
    a type with smaller blocks, or F16."""
    if len(shape) < 2 or name.endswith("ffn_gate_inp.weight"):
        return F32
    if name in ("token_embd.weight", "output.weight"):
        wanted = TYPES[FINER.get(wanted.name, wanted.name)]
    if shape[-1] % wanted.block:
        wanted = TYPES[NARROW.get(wanted.name, "f16")]
    return wanted if shape[-1] % wanted.block == 0 else F16


@torch.no_grad()
def as_stored(loaded: Pretrained, kind: TensorType) -> Any:
    """A copy of the model in float32 with the weights a reader of the file computes with."""
    model = empty_model(loaded.family, loaded.model.config)
    own = parameters_of(loaded.model)
    state: dict[str, torch.Tensor] = {}
    shapes = {name: value.shape for name, value in own.items()}
    for stored in stored_tensors(loaded.model, loaded.family, kind):
        read = decode(encode(join(stored.parts, own), stored.kind), stored.shape, stored.kind)
        state |= split(read, stored.parts, shapes)
    give_weights(model, state)
    return model.eval()


def _architecture(source: Source) -> str:
    found = architecture_of(source.family)
    if found is None:
        raise HanlinError(
            f"GGUF files of {source.family.ARCHITECTURES[0]} are not written here.",
            f"one of: {', '.join(sorted(known_architectures()))}",
            "save it as a Hugging Face folder: hanlin export … --format hf",
            MORE,
        )
    return found


def _metadata(source: Source, architecture: str) -> dict[str, Value]:
    module = known_architectures()[architecture]
    with _told(architecture):
        module.names(source.model.config)
        return module.metadata(source.model.config)


@contextmanager
def _told(architecture: str) -> Iterator[None]:
    """What llama.cpp has no place for, in words."""
    try:
        yield
    except ValueError as error:
        raise HanlinError(
            f"llama.cpp can't run this model as it is: {error}.",
            f"a {architecture} model of the kind llama.cpp knows",
            "save it as a Hugging Face folder: hanlin export … --format hf",
            MORE,
        ) from None


def _extra_tensors(source: Source, architecture: str) -> dict[str, torch.Tensor]:
    extra = getattr(known_architectures()[architecture], "tensors", None)
    return extra(source.model.config) if extra else {}


def _general(architecture: str, kind: TensorType, name: str, licence: str) -> dict[str, Value]:
    facts: dict[str, Value] = {
        "general.architecture": architecture,
        "general.type": "model",
        "general.name": name,
    }
    if kind.file_type is not None:
        facts["general.file_type"] = kind.file_type
    if licence:
        facts["general.license"] = licence
    if kind.block > 1:
        facts["general.quantization_version"] = 2
    return facts


def _encoded(stored: Stored, state: Mapping[str, torch.Tensor]) -> np.ndarray:
    weight = join(stored.parts, state)
    greatest = weight.abs().max().item()
    if not greatest <= (torch.finfo(torch.float32).max if stored.kind.name in ("f32", "bf16") else F16_GREATEST):
        raise HanlinError(
            f"{stored.parts[0][0]} holds a number {stored.kind.name} can't ({greatest:g}).",
            f"finite weights up to {F16_GREATEST:,.0f}",
            "evaluate the model: its training may have diverged; formats=[f32] keeps great numbers",
            MORE,
        )
    return encode(weight, stored.kind)
