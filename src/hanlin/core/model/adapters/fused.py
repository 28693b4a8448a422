"""Adapters of matrices that a checkpoint keeps in one: GPT-2's c_attn, Phi-3's qkv_proj and gate_up_proj.

The rows of the fused matrix are those of its parts (weights.py has the order), so B and the magnitude are cut and
joined as the matrix itself. An A of the fused matrix is each part's A. The other way round, unequal A stand on each
other and every B has columns of its own: the fused rank is the sum of the parts'.

    fused A = [A_q; A_k; A_v]        fused B = the rows of [B_q 0 0], [0 B_k 0], [0 0 B_v]
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import torch

from hanlin.core.model.adapters.lora import Adapter
from hanlin.core.model.weights import Part, join, split

Parts = Sequence[tuple[str, Part]]
"""Modules that share a checkpoint's matrix, in their order."""


def cut(fused: Adapter, parts: Parts, num_rows: Mapping[str, int]) -> dict[str, Adapter]:
    """The fused matrix's adapter as one for each part; a part that it leaves alone has none. num_rows: of each part.

    Columns of B that are 0 in all of a part's rows are left out with their rows of A: they belong to another part.
    """
    if len(parts) == 1:
        return {parts[0][0]: fused}
    as_ours = _untransposed(parts)
    lora_B = split(fused.lora_B, as_ours, {name: torch.Size((num_rows[name], fused.rank)) for name in num_rows})
    magnitude: Mapping[str, torch.Tensor | None] = dict.fromkeys(lora_B)
    if fused.magnitude is not None:
        magnitude = split(fused.magnitude, as_ours, {name: torch.Size((num_rows[name],)) for name in num_rows})
    unused = not fused.lora_B.any()  # fresh: no column says whose it is
    found = {}
    for name, B in lora_B.items():
        columns = torch.ones(fused.rank, dtype=torch.bool) if unused else B.any(dim=0)
        if columns.any() or magnitude[name] is not None:
            kept = columns if columns.any() else torch.arange(fused.rank) < 1
            found[name] = Adapter(fused.lora_A[kept], B[:, kept], fused.scale, magnitude[name])
    return found


def fuse(
    adapters: Mapping[str, Adapter],
    parts: Parts,
    num_rows: Mapping[str, int],
    first_magnitude: Callable[[str], torch.Tensor],
) -> Adapter:
    """The reverse. adapters: of the parts that have one. first_magnitude: of the others, where DoRA needs it."""
    if len(parts) == 1:
        return adapters[parts[0][0]]
    own = [adapters[name] for name, _ in parts if name in adapters]
    first, as_ours = own[0], _untransposed(parts)
    shared = all(torch.equal(adapter.lora_A, first.lora_A) for adapter in own)
    rank = first.rank if shared else sum(adapter.rank for adapter in own)
    lora_B, column = {}, 0
    for name, _ in parts:
        lora_B[name] = first.lora_B.new_zeros(num_rows[name], rank)
        if name in adapters:
            adapter = adapters[name]
            start = 0 if shared else column
            lora_B[name][:, start : start + adapter.rank] = adapter.lora_B * (adapter.scale / first.scale)
            column += adapter.rank
    magnitude = None
    if first.magnitude is not None:
        magnitude = join(as_ours, {name: _magnitude(name, adapters, first_magnitude) for name, _ in parts})
    lora_A = first.lora_A if shared else torch.cat([adapter.lora_A for adapter in own])
    return Adapter(lora_A, join(as_ours, lora_B), first.scale, magnitude)


def _untransposed(parts: Parts) -> list[tuple[str, Part]]:
    """B is (out, r) whichever way its matrix is stored."""
    return [(name, replace(part, transposed=False)) for name, part in parts]


def _magnitude(
    name: str, adapters: Mapping[str, Adapter], first_magnitude: Callable[[str], torch.Tensor]
) -> torch.Tensor:
    if name not in adapters:
        return first_magnitude(name)
    magnitude = adapters[name].magnitude
    assert magnitude is not None, "all adapters of a model are DoRA, or none"
    return magnitude
