"""Top-k: only the k likeliest tokens. Fan et al. 2018, https://arxiv.org/abs/1805.04833."""

from __future__ import annotations

import torch

from hanlin.core.generate.strategies.largest import largest


def keep(logits_N: torch.Tensor, k: int) -> torch.Tensor:
    """Places of those kept, ascending: {i : z_i ≥ the k-th largest}. All that equal the k-th stay."""
    if k >= len(logits_N):
        return torch.arange(len(logits_N), device=logits_N.device)
    values, places = largest(logits_N, k + 1)
    if values[k] < values[k - 1]:
        return places[:k].sort().values
    return (logits_N >= values[k]).nonzero()[:, 0]
