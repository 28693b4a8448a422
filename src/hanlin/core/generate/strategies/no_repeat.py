"""No n tokens come twice in the same order. Paulus et al. 2017, https://arxiv.org/abs/1705.04304, section 2.5."""

from __future__ import annotations

import torch


def forbid(logits_V: torch.Tensor, seen: torch.Tensor, n: int) -> torch.Tensor:
    """−∞ for each token that would end a run of n tokens that `seen`, prompt and reply, already has."""
    if len(seen) < n:
        return logits_V
    runs = seen.unfold(0, n, 1)
    same_beginning = (runs[:, :-1] == seen[len(seen) - n + 1 :]).all(dim=1)
    return logits_V.index_fill(0, runs[same_beginning, -1], -torch.inf)
