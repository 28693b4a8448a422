"""A block for generation: the arithmetic of parts.py, compiled where it could be, around attention's own look."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from hanlin.core.generate.kernels.bfloat16 import can_pack
from hanlin.core.generate.kernels.compiled import Programs, tensors_of
from hanlin.core.generate.kernels.parts import Parts
from hanlin.core.generate.kernels.places import in_pages, seen_of
from hanlin.core.model.attention import attend_by_products
from hanlin.core.model.cache import KeyValues
from hanlin.core.model.positions.rope import Rope
from hanlin.core.model.reading import Reading

QUERIES = 256
"""Whose scores are held at a time."""


class FusedBlock(nn.Module):
    """(B, T, C) → (B, T, C), float32. attention: the block's own, for what it looks at; its products are not used."""

    def __init__(self, parts: Parts, block: Any, programs: Programs | None = None):
        super().__init__()
        self.parts, self.programs = parts, programs
        self.device = block.attention.k_proj.weight.device
        attention = copy.copy(block.attention)
        attention._modules, attention.attend = {}, attend_in_bfloat16
        attention._for_each_head = lambda x_BKSD: x_BKSD
        self._attention = [attention]  # in a list: no module of this one
        self._tensors = tensors_of(parts)

    def forward(self, x_BTC: torch.Tensor, reading: Reading, state: Any = None) -> torch.Tensor:
        B, T, C = x_BTC.shape
        attention, rows_NC = self._attention[0], x_BTC.float().reshape(-1, C)
        tables = tables_of(attention.position, reading, B)
        if self.programs is not None and T == 1 and in_pages(state):
            pages = (state.pages.keys, state.pages.values, state.slots_N)
            inputs = (rows_NC, *tables, *pages, *seen_of(reading, state, attention.window))
            return self.programs.run("one" if B == 1 else "many", inputs, self._tensors)[0].view(B, T, C)
        q, k, v = (x.unflatten(0, (B, T)) for x in self._run("enter", rows_NC, *tables))
        y_BTE = attention.look(q, k, v, reading, state)
        return self._run("leave", rows_NC, y_BTE.flatten(0, 1))[0].view(B, T, C)

    def new_state(self, batch: int, max_tokens: int) -> KeyValues:
        parts = self.parts
        return KeyValues(batch, parts.num_kv_heads, max_tokens, parts.head_width, parts.dtype, self.device)

    def _run(self, part: str, *inputs: torch.Tensor) -> Sequence[torch.Tensor]:
        if self.programs is not None and len(inputs[0]) > 1:
            return self.programs.run(part, inputs, self._tensors)
        found = self.parts(part, *inputs)
        return found if isinstance(found, tuple) else (found,)


def tables_of(position: Any, reading: Reading, batch: int) -> tuple[torch.Tensor, torch.Tensor]:
    """cos and sin of each token's position, (B·T, 1, width / 2) float32; anything where positions don't turn."""
    if not isinstance(position, Rope):
        nothing = torch.zeros(batch * reading.length, 1, 1, device=reading.device)
        return nothing, nothing
    return reading.once(("tables", id(position)), lambda: _tables(position, reading, batch))


def _tables(position: Rope, reading: Reading, batch: int) -> tuple[torch.Tensor, torch.Tensor]:
    cos, sin = position.tables(reading, torch.float32)
    shape = (batch, reading.length, *cos.shape[-2:])
    return cos.expand(shape).flatten(0, 1), sin.expand(shape).flatten(0, 1)


def attend_in_bfloat16(
    q_BHTD: torch.Tensor,
    k_BKSD: torch.Tensor,
    v_BKSD: torch.Tensor,
    mask: torch.Tensor | None,
    causal: bool,
    scale: float,
) -> torch.Tensor:
    """A prompt's many queries by plain products in bfloat16: three times as fast as the fused kernel where the
    processor multiplies bfloat16 matrices. Some queries at a time, with the keys they see: less is held, less done.
    The H/K heads that share keys stand as more queries of one head: keys are not copied for each."""
    (B, H, T, D), (K, S) = q_BHTD.shape, k_BKSD.shape[1:3]
    plain = causal or (mask is not None and mask.ndim == 2 and mask.dtype == torch.bool)
    if T == 1 or not plain or not can_pack(q_BHTD.device.type):
        return F.scaled_dot_product_attention(q_BHTD, k_BKSD, v_BKSD, mask, 0.0, causal, scale=scale, enable_gqa=H != K)
    q, k, v = (x.bfloat16() for x in (q_BHTD, k_BKSD, v_BKSD))
    if mask is None:
        mask = torch.ones(T, S, dtype=torch.bool, device=q.device).tril()
    y_BHTD = torch.empty_like(q)
    for begin in range(0, T, QUERIES):
        queries = slice(begin, begin + QUERIES)
        seen_S = mask[queries].view(torch.uint8).amax(0).nonzero()[:, 0]
        keys = slice(int(seen_S[0]), int(seen_S[-1]) + 1)
        part = mask[queries, keys].repeat(H // K, 1)
        q_BKND = q[:, :, queries].reshape(B, K, -1, D)
        y_BKND = attend_by_products(q_BKND, k[:, :, keys], v[:, :, keys], part, False, scale)
        y_BHTD[:, :, queries] = y_BKND.view(B, H, -1, D)
    return y_BHTD.to(q_BHTD.dtype)
