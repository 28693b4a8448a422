"""Keys and values of the tokens already read, so that each new token costs one token's work."""

from __future__ import annotations

import torch


class Cache:
    """Preallocated keys and values, (L, B, K, max_tokens, D) each. `length` tokens are filled."""

    def __init__(
        self, num_layers: int, batch: int, num_kv_heads: int, max_tokens: int, head_width: int, dtype: torch.dtype
    ):
        shape = (num_layers, batch, num_kv_heads, max_tokens, head_width)
        self.keys = torch.zeros(shape, dtype=dtype)
        self.values = torch.zeros(shape, dtype=dtype)
        self.length = 0

    @property
    def max_tokens(self) -> int:
        return self.keys.shape[3]

    def extend(self, layer: int, k_BKTD: torch.Tensor, v_BKTD: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Write the new tokens after the filled ones; return all keys and values so far, (B, K, S, D)."""
        end = self.length + k_BKTD.shape[2]
        assert end <= self.max_tokens, "the caller keeps prompt and reply inside the cache"
        self.keys[layer, :, :, self.length : end] = k_BKTD
        self.values[layer, :, :, self.length : end] = v_BKTD
        return self.keys[layer, :, :, :end], self.values[layer, :, :, :end]
