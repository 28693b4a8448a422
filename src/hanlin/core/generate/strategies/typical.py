"""Locally typical sampling: the tokens whose surprise is nearest to the surprise that is to be expected. Meister et al.
2022, https://arxiv.org/abs/2202.00666."""

from __future__ import annotations

import torch

from hanlin.core.generate.strategies.log_probabilities import log_probabilities
from hanlin.core.generate.strategies.top_p import reach


def keep(logits_N: torch.Tensor, mass: float) -> torch.Tensor:
    """Places of those kept, ascending: the smallest set, by |−log P_i − H|, with a mass ≥ `mass`; H = −Σ P·log P.

    Those as near as the last one stay too. The likeliest token may go."""
    log_probabilities_N = log_probabilities(logits_N)
    entropy = -(log_probabilities_N.exp() * log_probabilities_N).nansum()
    nearness_N = -(-log_probabilities_N - entropy).abs()
    furthest = nearness_N[reach(nearness_N, log_probabilities_N, mass)].min()
    return (nearness_N >= furthest).nonzero()[:, 0]
