"""Grouped-query attention, made from the parts it is handed. Ainslie et al. 2023, https://arxiv.org/abs/2305.13245."""

from __future__ import annotations

from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch import nn

from hanlin.core.model.cache import KeyValues
from hanlin.core.model.reading import Reading


class Position(Protocol):
    """How attention learns where tokens stand: by turning queries and keys, by a bias on the scores, or not at all."""

    def turn(
        self, q_BTHD: torch.Tensor, k_BTKD: torch.Tensor, reading: Reading
    ) -> tuple[torch.Tensor, torch.Tensor]: ...

    def mask(self, reading: Reading, window: int | None, dtype: torch.dtype) -> torch.Tensor | None:
        """bool (seen or not) or a number added to the scores; None where plain (causal) attention does the same."""
        ...


class RowsOfKeyValues(Protocol):
    """The cached keys and values of texts that differ in length."""

    def write(self, k_BTKD: torch.Tensor, v_BTKD: torch.Tensor) -> None:
        """Keep the new tokens of every row."""
        ...

    def since(self, row: int, first: int) -> tuple[torch.Tensor, torch.Tensor]:
        """One row's, from its token `first` to its last new one: (1, K, S, D) each."""
        ...


class Attend(Protocol):
    """softmax(q·kᵀ·scale + mask)·v for q (B, H, T, D), k and v (B, H, S, D)."""

    def __call__(
        self,
        q_BHTD: torch.Tensor,
        k_BHSD: torch.Tensor,
        v_BHSD: torch.Tensor,
        mask: torch.Tensor | None,
        causal: bool,
        scale: float,
    ) -> torch.Tensor: ...


def attend(
    q_BHTD: torch.Tensor,
    k_BHSD: torch.Tensor,
    v_BHSD: torch.Tensor,
    mask: torch.Tensor | None,
    causal: bool,
    scale: float,
) -> torch.Tensor:
    """The fused kernel of torch, or products where they are faster."""
    if q_BHTD.requires_grad and _products_are_faster(q_BHTD, k_BHSD):
        return attend_by_products(q_BHTD, k_BHSD, v_BHSD, mask, causal, scale)
    return F.scaled_dot_product_attention(q_BHTD, k_BHSD, v_BHSD, attn_mask=mask, is_causal=causal, scale=scale)


SHORT_TOKENS = 512
"""So far two plain products with all scores between them take a third to two thirds of the fused kernel's time, forward
and backward, on a CPU that multiplies bfloat16 matrices. They keep 2·H·T bytes a token and layer more."""


def _products_are_faster(q_BHTD: torch.Tensor, k_BHSD: torch.Tensor) -> bool:
    short = max(q_BHTD.shape[2], k_BHSD.shape[2]) <= SHORT_TOKENS
    return short and q_BHTD.device.type == "cpu" and q_BHTD.dtype == torch.bfloat16


def attend_by_products(
    q_BHTD: torch.Tensor,
    k_BHSD: torch.Tensor,
    v_BHSD: torch.Tensor,
    mask: torch.Tensor | None,
    causal: bool,
    scale: float,
) -> torch.Tensor:
    """As the formula says. The scores are held, in the dtype of q: rounded as transformers' own ("eager") are."""
    scores_BHTS = q_BHTD @ k_BHSD.mT
    if causal:
        mask = torch.ones(scores_BHTS.shape[-2:], dtype=torch.bool, device=scores_BHTS.device).tril()
    if mask is None:
        return (scores_BHTS * scale).softmax(-1) @ v_BHSD
    if mask.dtype == torch.bool:
        mask = torch.zeros(mask.shape, dtype=scores_BHTS.dtype, device=mask.device).masked_fill(~mask, -torch.inf)
    return torch.add(mask, scores_BHTS, alpha=scale).softmax(-1) @ v_BHSD


class Attention(nn.Module):
    """softmax(q·kᵀ·scale, masked)·v; H query heads share K key/value heads.

    q_norm, k_norm, v_norm: applied to (B, T, H or K, D) before positions. scale: default 1/√D. window: sliding window
    in tokens. attend: the kernel, where scores are treated otherwise (soft caps).
    """

    def __init__(
        self,
        width: int,
        num_heads: int,
        num_kv_heads: int,
        head_width: int,
        position: Position,
        *,
        bias: bool = False,
        out_bias: bool = False,
        q_norm: nn.Module | None = None,
        k_norm: nn.Module | None = None,
        v_norm: nn.Module | None = None,
        scale: float | None = None,
        window: int | None = None,
        attend: Attend = attend,
    ):
        super().__init__()
        self.num_heads, self.num_kv_heads, self.head_width = num_heads, num_kv_heads, head_width
        self.position, self.window, self.attend = position, window, attend
        self.scale = head_width**-0.5 if scale is None else scale
        self.q_proj = nn.Linear(width, num_heads * head_width, bias=bias)
        self.k_proj = nn.Linear(width, num_kv_heads * head_width, bias=bias)
        self.v_proj = nn.Linear(width, num_kv_heads * head_width, bias=bias)
        self.o_proj = nn.Linear(num_heads * head_width, width, bias=out_bias)
        self.q_norm, self.k_norm, self.v_norm = (norm or nn.Identity() for norm in (q_norm, k_norm, v_norm))

    def forward(self, x_BTC: torch.Tensor, reading: Reading, state: Any = None) -> torch.Tensor:
        """state: KeyValues, or RowsOfKeyValues where `reading` has rows."""
        q_BTHD, k_BTKD, v_BTKD = self.heads(x_BTC)
        q_BTHD, k_BTKD = self.position.turn(q_BTHD, k_BTKD, reading)
        return self.o_proj(self.look(q_BTHD, k_BTKD, v_BTKD, reading, state))

    def heads(self, x_BTC: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """q (B, T, H, D), k and v (B, T, K, D), normed, before positions."""
        B, T, _ = x_BTC.shape
        q_BTHD = self.q_norm(self.q_proj(x_BTC).view(B, T, -1, self.head_width))
        k_BTKD = self.k_norm(self.k_proj(x_BTC).view(B, T, -1, self.head_width))
        v_BTKD = self.v_norm(self.v_proj(x_BTC).view(B, T, -1, self.head_width))
        return q_BTHD, k_BTKD, v_BTKD

    def look(
        self, q_BTHD: torch.Tensor, k_BTKD: torch.Tensor, v_BTKD: torch.Tensor, reading: Reading, state: Any = None
    ) -> torch.Tensor:
        """What the new tokens see, (B, T, H·D); keys and values are added to the state. q and k have positions."""
        if reading.one_by_one:
            return self._one_by_one(q_BTHD, k_BTKD, v_BTKD, reading).flatten(2)
        if reading.rows is not None:
            state.write(k_BTKD, v_BTKD)
            y = [self._row(q_BTHD[i : i + 1], row, i, state) for i, row in enumerate(reading.rows)]
            return torch.cat(y).flatten(2)
        q_BHTD, k_BKSD, v_BKSD = q_BTHD.transpose(1, 2), k_BTKD.transpose(1, 2), v_BTKD.transpose(1, 2)
        if state is not None:
            k_BKSD, v_BKSD = state.extend(reading.start, k_BKSD, v_BKSD)
        mask = self.position.mask(reading, self.window, q_BHTD.dtype)
        y_BHTD = self._attend(q_BHTD, k_BKSD, v_BKSD, mask, reading.is_causal(mask))
        return y_BHTD.transpose(1, 2).reshape(*q_BTHD.shape[:2], -1)

    def _attend(
        self,
        q_BHTD: torch.Tensor,
        k_BKSD: torch.Tensor,
        v_BKSD: torch.Tensor,
        mask: torch.Tensor | None,
        causal: bool,
    ) -> torch.Tensor:
        if mask is None and not causal:
            # Every query sees every key, so the heads that share keys can stand as more queries of one head.
            q_BKND = q_BHTD.reshape(q_BHTD.shape[0], k_BKSD.shape[1], -1, self.head_width)
            return self.attend(q_BKND, k_BKSD, v_BKSD, None, False, self.scale).reshape(q_BHTD.shape)
        k_BHSD, v_BHSD = self._for_each_head(k_BKSD), self._for_each_head(v_BKSD)
        return self.attend(q_BHTD, k_BHSD, v_BHSD, mask, causal, self.scale)

    def _row(self, q_1THD: torch.Tensor, row: Reading, number: int, state: RowsOfKeyValues) -> torch.Tensor:
        """Row `number` of a batch, (1, T, H, D), as if it were read alone; keys behind the window are left out."""
        first = 0 if self.window is None else max(0, row.start + 1 - self.window)
        k_1KSD, v_1KSD = state.since(number, first)
        mask = self.position.mask(row, self.window if row.length > 1 else None, q_1THD.dtype)
        if mask is not None:
            mask = mask[..., first:]
        y_1HTD = self._attend(q_1THD.transpose(1, 2), k_1KSD, v_1KSD, mask, row.is_causal(mask))
        return y_1HTD.transpose(1, 2)

    def _one_by_one(
        self, q_BTHD: torch.Tensor, k_BTKD: torch.Tensor, v_BTKD: torch.Tensor, reading: Reading
    ) -> torch.Tensor:
        """Packed rows, document by document: (B, T, H, D), zeros at padding."""
        longest, lengths = reading.longest_piece, [piece.length for piece in reading.pieces]
        whole_mask = self.position.mask(longest, self.window, q_BTHD.dtype)
        # Split, not sliced: the gradients of all parts are then put together once.
        parts = [x.flatten(0, 1).split(lengths) for x in (q_BTHD, k_BTKD, v_BTKD)]
        y = []
        for piece, q_THD, k_TKD, v_TKD in zip(reading.pieces, *parts):
            if not piece.real:
                y.append(torch.zeros_like(q_THD))
                continue
            mask = self._corner(whole_mask, piece.length)
            q_1HTD, k_1KTD, v_1KTD = (x.transpose(0, 1)[None] for x in (q_THD, k_TKD, v_TKD))
            y_1HTD = self._attend(q_1HTD, k_1KTD, v_1KTD, mask, longest.is_causal(mask))
            y.append(y_1HTD[0].transpose(0, 1))
        return torch.cat(y).view_as(q_BTHD)

    def _corner(self, mask: torch.Tensor | None, length: int) -> torch.Tensor | None:
        """What the first tokens see; within a window that is what they would see without it."""
        if mask is None or (mask.dtype == torch.bool and self.window is not None and length <= self.window):
            return None
        return mask[..., :length, :length]

    def new_state(self, batch: int, max_tokens: int) -> KeyValues:
        weight = self.k_proj.weight
        return KeyValues(batch, self.num_kv_heads, max_tokens, self.head_width, weight.dtype, weight.device)

    def _for_each_head(self, x_BKSD: torch.Tensor) -> torch.Tensor:
        """(B, K, S, D) → (B, H, S, D): each key/value head serves H/K neighbouring query heads."""
        groups = self.num_heads // self.num_kv_heads
        return x_BKSD if groups == 1 else x_BKSD.repeat_interleave(groups, dim=1)
