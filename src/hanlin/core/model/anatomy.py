"""What a checkpoint is made of, read from its config and the headers of its files: no weight is loaded."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from safetensors import safe_open
from torch import nn

from hanlin.core.model.attention import Attention
from hanlin.core.model.checkpoint_files import weight_files
from hanlin.core.model.gguf.loading import open_gguf_weights
from hanlin.core.model.pretrained import model_without_weights

DTYPES = {"F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}
"""By the names safetensors gives them."""


@dataclass(frozen=True)
class Tensor:
    """One parameter, or `count` alike (experts): its name below its part, shape, and the parameter it shares its
    numbers with ("" for none)."""

    name: str
    shape: tuple[int, ...]
    tied_to: str = ""
    count: int = 1

    @property
    def parameters(self) -> int:
        return 0 if self.tied_to else self.count * math.prod(self.shape)


@dataclass(frozen=True)
class Part:
    """A piece of the model, or several neighbouring blocks that are alike."""

    name: str
    count: int
    tensors: tuple[Tensor, ...]
    about: str = ""

    @property
    def parameters(self) -> int:
        """Of all `count` together."""
        return self.count * sum(tensor.parameters for tensor in self.tensors)


@dataclass(frozen=True)
class Anatomy:
    """cache_bytes_per_token: keys and values of all layers, in `cache_dtype`; state_bytes: what a sequence costs
    whatever its length (recurrent states). Both are None for a model that keeps nothing (an encoder)."""

    architecture: str
    summary: str
    parts: tuple[Part, ...]
    dtype: str
    file_bytes: int
    num_files: int
    context: int
    cache_dtype: str
    cache_bytes_per_token: int | None
    state_bytes: int | None

    @property
    def parameters(self) -> int:
        return sum(part.parameters for part in self.parts)


def read_anatomy(path: Path) -> Anatomy:
    """Of a model's folder or .gguf file. Raises HanlinError as opening the model would, but for what stands inside the
    weights."""
    model, family, dtype, files = _of_gguf(path) if path.is_file() else _of_folder(path)
    per_token, fixed = cache_bytes(model.to(DTYPES.get(dtype, torch.float32)))
    return Anatomy(
        architecture=(model.config.get("architectures") or family.ARCHITECTURES)[0],
        summary=family.SUMMARY,
        parts=tuple(parts_of(model)),
        dtype=str(DTYPES.get(dtype, dtype)).removeprefix("torch."),
        file_bytes=sum(file.stat().st_size for file in files),
        num_files=len(files),
        context=model.max_positions,
        cache_dtype=str(next(model.parameters()).dtype).removeprefix("torch."),
        cache_bytes_per_token=per_token,
        state_bytes=fixed,
    )


def _of_folder(folder: Path) -> tuple[Any, ModuleType, str, list[Path]]:
    """(model without storage, family, the dtype most numbers have, files)."""
    model, family = model_without_weights(folder)
    files = weight_files(folder)
    return model, family, stored_dtype(files[0]), files


def _of_gguf(file: Path) -> tuple[Any, ModuleType, str, list[Path]]:
    model, family, state = open_gguf_weights(file)
    sizes: dict[str, int] = {}
    for tensor in state.file.tensors.values():
        sizes[tensor.kind.name] = sizes.get(tensor.kind.name, 0) + math.prod(tensor.shape)
    return model, family, " and ".join(sorted(sizes, key=lambda kind: -sizes[kind])[:3]), [file]


def stored_dtype(file: Path) -> str:
    """The dtype most of a file's numbers have, as safetensors names it."""
    sizes: dict[str, int] = {}
    with safe_open(file, framework="pt") as opened:
        for key in opened.keys():  # noqa: SIM118 (not a dict)
            tensor = opened.get_slice(key)
            sizes[tensor.get_dtype()] = sizes.get(tensor.get_dtype(), 0) + math.prod(tensor.get_shape())
    return max(sizes, key=lambda dtype: sizes[dtype]) if sizes else "F32"


def parts_of(model: nn.Module) -> list[Part]:
    """The model's pieces in order; neighbouring blocks with the same tensors and the same description are one part."""
    parts: list[Part] = []
    for name, child in model.named_children():
        if not isinstance(child, nn.ModuleList):
            parts += _part(model, name, child, name)
            continue
        blocks = [(_tensors(model, block, f"{name}.{number}"), describe(block)) for number, block in enumerate(child)]
        for (tensors, about), alike in groupby(enumerate(blocks), key=lambda numbered: numbered[1]):
            numbers = [number for number, _ in alike]
            span = str(numbers[0]) if len(numbers) == 1 else f"{numbers[0]}–{numbers[-1]}"
            parts.append(Part(f"{name}.{span}", len(numbers), tensors, about))
    return parts


def _part(model: nn.Module, path: str, module: nn.Module, name: str) -> list[Part]:
    """A stack inside a stack (an encoder-decoder has two) is taken apart; a piece without parameters is left out."""
    if any(isinstance(child, nn.ModuleList) for child in module.children()):
        inner = parts_of(module)
        return [Part(f"{name}.{part.name}", part.count, part.tensors, part.about) for part in inner]
    tensors = _tensors(model, module, path)
    return [Part(name, 1, tensors, describe(module))] if tensors else []


def _tensors(model: nn.Module, module: nn.Module, path: str) -> tuple[Tensor, ...]:
    """Tensors whose names differ in one number alone (experts) are listed once."""
    tied: dict[str, str] = getattr(model, "tied", {})
    alike: dict[tuple[str, tuple[int, ...], str], list[str]] = {}
    for name, parameter in module.named_parameters(remove_duplicate=False):
        key = re.sub(r"\d+", "*", name), tuple(parameter.shape), tied.get(f"{path}.{name}", "")
        alike.setdefault(key, []).append(name)
    return tuple(
        Tensor(names[0] if len(names) == 1 else pattern, shape, tied_to, len(names))
        for (pattern, shape, tied_to), names in alike.items()
    )


def describe(module: nn.Module) -> str:
    """How the attention inside looks: heads, window, position."""
    attention = next((inner for inner in module.modules() if isinstance(inner, Attention)), None)
    if attention is None:
        return ""
    heads = f"{attention.num_heads} heads"
    if attention.num_kv_heads != attention.num_heads:
        heads += f" over {attention.num_kv_heads} key/value heads"
    window = f", window {attention.window:,}" if attention.window else ""
    return f"{heads} × {attention.head_width}, {position_name(attention.position)}{window}"


def position_name(position: Any) -> str:
    kind, theta = getattr(position, "kind", ""), getattr(position, "theta", None)
    name = type(position).__name__
    if theta is None:
        return "no position in attention" if name == "NoPosition" else name
    return f"{name} θ {theta:,.0f}" + (f" ({kind})" if kind != "default" else "")


def cache_bytes(model: Any) -> tuple[int | None, int | None]:
    """(per token, whatever the length) of one sequence; (None, None) for a model without a cache."""
    if not hasattr(model, "new_cache"):
        return None, None
    one, two = (_state_bytes(model.new_cache(1, length).states) for length in (1, 2))
    return two - one, one - (two - one)


def _state_bytes(state: Any) -> int:
    if isinstance(state, torch.Tensor):
        return state.numel() * state.element_size()
    if isinstance(state, dict):
        return sum(map(_state_bytes, state.values()))
    if isinstance(state, list | tuple):
        return sum(map(_state_bytes, state))
    return _state_bytes(vars(state)) if hasattr(state, "__dict__") else 0


def lines(anatomy: Anatomy) -> list[str]:
    """The page `hanlin show model` prints."""
    a = anatomy
    files = f"{a.num_files} files" if a.num_files > 1 else "1 file"
    rows = [
        f"{a.architecture}: {a.summary}",
        f"{a.parameters:,} parameters, {a.dtype}, {a.file_bytes:,} bytes in {files}, context {a.context:,} tokens",
        "",
    ]
    width = max(len(name) for name in _names(a.parts)) + 2
    for part in a.parts:
        share = part.parameters / max(1, a.parameters)
        times = f" × {part.count}" if part.count > 1 else ""
        rows.append(f"{part.name + times:<{width}}{'':22}{part.parameters:>16,}  {share:6.1%}  {part.about}".rstrip())
        rows += [_tensor_line(tensor, width) for tensor in part.tensors]
    return [*rows, "", *_cache_lines(a)]


def _names(parts: Sequence[Part]) -> Iterable[str]:
    for part in parts:
        yield f"{part.name} × {part.count}"
        yield from (f"  {tensor.name}" for tensor in part.tensors)


def _tensor_line(tensor: Tensor, width: int) -> str:
    shape = " × ".join(map(str, tensor.shape)) or "1"
    shape = f"{tensor.count} of {shape}" if tensor.count > 1 else shape
    amount = f"= {tensor.tied_to}" if tensor.tied_to else f"{tensor.parameters:,}"
    return f"{'  ' + tensor.name:<{width}}{shape:<22}{amount:>16}"


def _cache_lines(anatomy: Anatomy) -> list[str]:
    if anatomy.cache_bytes_per_token is None:
        return ["It keeps no cache: it reads a text as a whole."]
    per_token, fixed = anatomy.cache_bytes_per_token, anatomy.state_bytes or 0
    kept = [f"{per_token:,} bytes per token"] if per_token else []
    kept += [f"{fixed:,} bytes per sequence, whatever its length"] if fixed else []
    whole = f"; a full context of {anatomy.context:,} tokens: {per_token * anatomy.context + fixed:,} bytes"
    return [f"Cache in {anatomy.cache_dtype}: {' and '.join(kept)}{whole if per_token else ''}."]
