"""Weights by name: where each of our parameters lies in a checkpoint, whichever way its family stores it.

A family gives `names`: our module → the checkpoint's. `*` stands for a number (layer, expert), in order. The longest
name that begins a parameter's own decides, so `"layers.*.mlp": "model.layers.*.mlp"` covers everything below it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import nn


@dataclass(frozen=True)
class Part:
    """A parameter that a checkpoint holds in another form than ours.

    index: place among the parameters that share the tensor, stacked on each other. group: rows taken in turn (head by
    head: the head width); 0 stacks whole parameters. stacked: each parameter is one slice of a new first dimension
    (experts; the last `*` is the slice).
    transposed: the checkpoint holds (in, out) where we hold (out, in), as GPT-2's does.
    pairs: the head width D, where the rows of each head stand as x_0, x_{D/2}, x_1, … (llama.cpp's rotary order).
    add: the checkpoint holds our value plus this (Gemma's norms in GGUF).
    """

    name: str
    index: int = 0
    group: int = 0
    stacked: bool = False
    transposed: bool = False
    pairs: int = 0
    add: float = 0.0


Names = Mapping[str, str | Part]
Layout = dict[str, list[tuple[str, Part]]]
"""Checkpoint tensor → our parameters in it, in their order."""


def layout(model: nn.Module, names: Names) -> Layout:
    """Where all parameters of the model lie. Tied ones are stored once, under the parameter they share."""
    found: Layout = {}
    for name, _ in model.named_parameters():
        part = place(name, names)
        found.setdefault(part.name, []).append((name, part))
    for parts in found.values():
        parts.sort(key=lambda entry: entry[1].index)
    return found


def place(parameter: str, names: Names) -> Part:
    """The checkpoint tensor of one parameter. Raises KeyError for a parameter the family has not named."""
    pieces = parameter.split(".")
    pattern = ["*" if piece.isdigit() else piece for piece in pieces]
    for length in range(len(pieces), -1, -1):
        target = names.get(".".join(pattern[:length]))
        if target is None:
            continue
        part = Part(target) if isinstance(target, str) else target
        numbers = [piece for piece in pieces[:length] if piece.isdigit()]
        name = ".".join(filter(None, [part.name.replace("*", "{}").format(*numbers), *pieces[length:]]))
        return replace(part, name=name, index=int(numbers[-1]) if part.stacked else part.index)
    raise KeyError(parameter)


def split(
    tensor: torch.Tensor, parts: list[tuple[str, Part]], shapes: Mapping[str, torch.Size]
) -> dict[str, torch.Tensor]:
    """A checkpoint tensor → our parameters. Raises ValueError when its shape is not `stored_shape`."""
    if tuple(tensor.shape) != stored_shape(parts, shapes):
        raise ValueError(f"shape {tuple(tensor.shape)}, expected {stored_shape(parts, shapes)}")
    pieces = _cut(tensor, parts[0][1], [shapes[name][0] if len(shapes[name]) else 1 for name, _ in parts])
    return {name: _ours(piece, part).contiguous() for (name, part), piece in zip(parts, pieces)}


def _cut(tensor: torch.Tensor, first: Part, sizes: list[int]) -> Sequence[torch.Tensor]:
    if first.stacked:
        return tensor.unbind(0)
    rows = tensor.mT if first.transposed and tensor.ndim == 2 else tensor
    if len(sizes) == 1:
        return [rows]
    if not first.group:
        return rows.split(sizes)
    groups = sizes[0] // first.group
    grouped = rows.unflatten(0, (groups, -1)).split([size // groups for size in sizes], dim=1)
    return [piece.flatten(0, 1) for piece in grouped]


def _ours(piece: torch.Tensor, part: Part) -> torch.Tensor:
    if part.pairs:
        piece = piece.unflatten(0, (-1, part.pairs // 2, 2)).transpose(1, 2).flatten(0, 2)
    return piece - part.add if part.add else piece


def _theirs(value: torch.Tensor, part: Part) -> torch.Tensor:
    if part.pairs:
        value = value.unflatten(0, (-1, 2, part.pairs // 2)).transpose(1, 2).flatten(0, 2)
    return value + part.add if part.add else value


def join(parts: list[tuple[str, Part]], state: Mapping[str, torch.Tensor]) -> torch.Tensor:
    """The reverse of `split`."""
    first = parts[0][1]
    tensors = [_theirs(state[name], part) for name, part in parts]
    if first.stacked:
        return torch.stack(tensors)
    if first.group and len(tensors) > 1:
        groups = tensors[0].shape[0] // first.group
        whole = torch.cat([tensor.unflatten(0, (groups, -1)) for tensor in tensors], dim=1).flatten(0, 1)
    else:
        whole = torch.cat(tensors) if len(tensors) > 1 else tensors[0]
    return (whole.mT if first.transposed and whole.ndim == 2 else whole).contiguous()


def stored_shape(parts: list[tuple[str, Part]], shapes: Mapping[str, torch.Size]) -> tuple[int, ...]:
    """The checkpoint tensor's shape that our parameters' shapes call for."""
    own = [tuple(shapes[name]) for name, _ in parts]
    if parts[0][1].stacked:
        return (len(own), *own[0])
    whole = (sum(shape[0] for shape in own), *own[0][1:]) if own[0] else ()
    return whole[::-1] if parts[0][1].transposed and len(whole) == 2 else whole
