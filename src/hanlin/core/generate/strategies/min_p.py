"""Min-p: tokens at least a share p as likely as the likeliest. Nguyen et al. 2024, https://arxiv.org/abs/2407.01082."""

from __future__ import annotations

import math

import torch


def keep(logits_N: torch.Tensor, p: float) -> torch.Tensor:
    """Places of those kept, ascending: {i : P_i ≥ p · max P}, which is z_i ≥ max z + log p; p > 0."""
    return (logits_N >= logits_N.max() + math.log(p)).nonzero()[:, 0]
