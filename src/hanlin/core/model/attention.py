"""Grouped-query attention, made from the parts it is handed. Ainslie et al. 2023, https://arxiv.org/abs/2305.13245."""

from __future__ import annotations

from typing import Protocol

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
    """The fused kernel of torch."""
    return F.scaled_dot_product_attention(q_BHTD, k_BHSD, v_BHSD, attn_mask=mask, is_causal=causal, scale=scale)


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

    def forward(self, x_BTC: torch.Tensor, reading: Reading, state: KeyValues | None = None) -> torch.Tensor:
        B, T, _ = x_BTC.shape
        q_BTHD = self.q_norm(self.q_proj(x_BTC).view(B, T, self.num_heads, self.head_width))
        k_BTKD = self.k_norm(self.k_proj(x_BTC).view(B, T, self.num_kv_heads, self.head_width))
        v_BTKD = self.v_norm(self.v_proj(x_BTC).view(B, T, self.num_kv_heads, self.head_width))
        q_BTHD, k_BTKD = self.position.turn(q_BTHD, k_BTKD, reading)
        q_BHTD, k_BKSD, v_BKSD = q_BTHD.transpose(1, 2), k_BTKD.transpose(1, 2), v_BTKD.transpose(1, 2)
        if state is not None:
            k_BKSD, v_BKSD = state.extend(reading.start, k_BKSD, v_BKSD)
        mask = self.position.mask(reading, self.window, q_BHTD.dtype)
        y_BHTD = self.attend(
            q_BHTD,
            self._for_each_head(k_BKSD),
            self._for_each_head(v_BKSD),
            mask,
            reading.is_causal(mask),
            self.scale,
        )
        return self.o_proj(y_BHTD.transpose(1, 2).reshape(B, T, self.num_heads * self.head_width))

    def new_state(self, batch: int, max_tokens: int) -> KeyValues:
        weight = self.k_proj.weight
        return KeyValues(batch, self.num_kv_heads, max_tokens, self.head_width, weight.dtype, weight.device)

    def _for_each_head(self, x_BKSD: torch.Tensor) -> torch.Tensor:
        """(B, K, S, D) → (B, H, S, D): each key/value head serves H/K neighbouring query heads."""
        groups = self.num_heads // self.num_kv_heads
        return x_BKSD if groups == 1 else x_BKSD.repeat_interleave(groups, dim=1)
