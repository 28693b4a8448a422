"""Weights by name: where each of our parameters lies in a checkpoint, whichever way its family stores it.

A family gives `names`: our module → the checkpoint's. `*` stands for a number (layer, expert), in order. The longest
name that begins a parameter's own decides, so `"layers.*.mlp": "model.layers.*.mlp"` covers everything below it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import nn


@dataclass(frozen=True)
class Part:
    """One of several parameters that share a checkpoint tensor, stacked on each other by `index`.

    group: rows taken in turn (head by head: the head width); 0 stacks whole parameters.
    transposed: the checkpoint holds (in, out) where we hold (out, in), as GPT-2's does.
    """

    name: str
    index: int = 0
    group: int = 0
    transposed: bool = False


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
        whole = part.name.replace("*", "{}").format(*numbers)
        name = ".".join(filter(None, [whole, *pieces[length:]]))
        return Part(name, part.index, part.group, part.transposed)
    raise KeyError(parameter)


def split(
    tensor: torch.Tensor, parts: list[tuple[str, Part]], shapes: Mapping[str, torch.Size]
) -> dict[str, torch.Tensor]:
    """A checkpoint tensor → our parameters. Raises ValueError when its shape is not `stored_shape`."""
    if tuple(tensor.shape) != stored_shape(parts, shapes):
        raise ValueError(f"shape {tuple(tensor.shape)}, expected {stored_shape(parts, shapes)}")
    first = parts[0][1]
    if len(parts) == 1 and not first.transposed:
        return {parts[0][0]: tensor}
    rows = tensor.mT if first.transposed and tensor.ndim == 2 else tensor
    sizes = [shapes[name][0] for name, _ in parts]
    if first.group:
        groups = sizes[0] // first.group
        pieces = rows.unflatten(0, (groups, -1)).split([size // groups for size in sizes], dim=1)
        pieces = tuple(piece.flatten(0, 1) for piece in pieces)
    else:
        pieces = rows.split(sizes)
    return {name: piece.contiguous() for (name, _), piece in zip(parts, pieces)}


def join(parts: list[tuple[str, Part]], state: Mapping[str, torch.Tensor]) -> torch.Tensor:
    """The reverse of `split`."""
    first = parts[0][1]
    tensors = [state[name] for name, _ in parts]
    if first.group:
        groups = tensors[0].shape[0] // first.group
        whole = torch.cat([tensor.unflatten(0, (groups, -1)) for tensor in tensors], dim=1).flatten(0, 1)
    else:
        whole = torch.cat(tensors) if len(tensors) > 1 else tensors[0]
    return (whole.mT if first.transposed and whole.ndim == 2 else whole).contiguous()


def stored_shape(parts: list[tuple[str, Part]], shapes: Mapping[str, torch.Size]) -> tuple[int, ...]:
    """The checkpoint tensor's shape that our parameters' shapes call for."""
    own = [tuple(shapes[name]) for name, _ in parts]
    whole = (sum(shape[0] for shape in own), *own[0][1:]) if own[0] else ()
    return whole[::-1] if parts[0][1].transposed and len(whole) == 2 else whole
