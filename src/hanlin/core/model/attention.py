"""Grouped-query attention with optional QK-norm. Ainslie et al. 2023, https://arxiv.org/abs/2305.13245."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from hanlin.core.model.cache import Cache
from hanlin.core.model.rope import rotate


class Attention(nn.Module):
    """softmax(q·kᵀ/√D, causal)·v; H query heads share K key/value heads."""

    def __init__(
        self, width: int, num_heads: int, num_kv_heads: int, head_width: int, q_norm: nn.Module, k_norm: nn.Module
    ):
        super().__init__()
        self.num_heads, self.num_kv_heads, self.head_width = num_heads, num_kv_heads, head_width
        self.q_proj = nn.Linear(width, num_heads * head_width, bias=False)
        self.k_proj = nn.Linear(width, num_kv_heads * head_width, bias=False)
        self.v_proj = nn.Linear(width, num_kv_heads * head_width, bias=False)
        self.o_proj = nn.Linear(num_heads * head_width, width, bias=False)
        self.q_norm, self.k_norm = q_norm, k_norm

    def forward(
        self, x_BTC: torch.Tensor, rope: tuple[torch.Tensor, torch.Tensor], cache: Cache | None = None, layer: int = 0
    ) -> torch.Tensor:
        B, T, _ = x_BTC.shape
        q_BTHD = self.q_norm(self.q_proj(x_BTC).view(B, T, self.num_heads, self.head_width))
        k_BTKD = self.k_norm(self.k_proj(x_BTC).view(B, T, self.num_kv_heads, self.head_width))
        v_BKTD = self.v_proj(x_BTC).view(B, T, self.num_kv_heads, self.head_width).transpose(1, 2)
        q_BHTD = rotate(q_BTHD, *rope).transpose(1, 2)
        k_BKTD = rotate(k_BTKD, *rope).transpose(1, 2)
        mask_TS = None
        if cache is not None:
            k_BKTD, v_BKTD = cache.extend(layer, k_BKTD, v_BKTD)
            mask_TS = causal_mask(T, k_BKTD.shape[2]) if 1 < T < k_BKTD.shape[2] else None
        causal = mask_TS is None and T > 1
        y_BHTD = F.scaled_dot_product_attention(
            q_BHTD, self._for_each_head(k_BKTD), self._for_each_head(v_BKTD), attn_mask=mask_TS, is_causal=causal
        )
        return self.o_proj(y_BHTD.transpose(1, 2).reshape(B, T, self.num_heads * self.head_width))

    def _for_each_head(self, x_BKSD: torch.Tensor) -> torch.Tensor:
        """(B, K, S, D) → (B, H, S, D): each key/value head serves H/K neighbouring query heads."""
        groups = self.num_heads // self.num_kv_heads
        return x_BKSD if groups == 1 else x_BKSD.repeat_interleave(groups, dim=1)


def causal_mask(num_queries: int, num_keys: int) -> torch.Tensor:
    """(T, S) bool: query t, the (S − T + t)-th token, sees keys up to itself. True means seen."""
    return torch.ones(num_queries, num_keys, dtype=torch.bool).tril(num_keys - num_queries)
