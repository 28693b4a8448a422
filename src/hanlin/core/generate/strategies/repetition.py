"""Repetition penalty. Keskar et al. 2019, https://arxiv.org/abs/1909.05858, section 4.1; for negative logits, where
dividing would reward, transformers' way: multiplying."""

from __future__ import annotations

import torch


def penalise(logits_V: torch.Tensor, seen: torch.Tensor, penalty: float) -> torch.Tensor:
    """z/θ for z > 0, z·θ otherwise, for the ids in `seen`, however often they stand there."""
    chosen = logits_V[seen]
    return logits_V.index_put((seen,), torch.where(chosen > 0, chosen / penalty, chosen * penalty))
