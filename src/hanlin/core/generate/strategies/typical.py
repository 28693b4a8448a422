"""Locally typical sampling: the tokens whose surprise is nearest to the surprise that is to be expected. Meister et al.
2022, https://arxiv.org/abs/2202.00666."""

from __future__ import annotations

import torch

from hanlin.core.generate.strategies.softmax import log_probabilities, probabilities
from hanlin.core.generate.strategies.top_p import is_tied, reach


def keep(logits_N: torch.Tensor, mass: float) -> torch.Tensor:
    """Places of those kept, ascending: the smallest set, by |−log P_i − H|, with a mass ≥ `mass`; H = −Σ P·log P.

    Those as near as the last one stay too. The likeliest token may go."""
    probabilities_N, log_probabilities_N = probabilities(logits_N), log_probabilities(logits_N)
    entropy = -(probabilities_N * log_probabilities_N).nansum()
    nearness_N = -(-log_probabilities_N - entropy).abs()
    ranked_M, num_kept = reach(nearness_N, probabilities_N, mass)
    if not is_tied(nearness_N, ranked_M, num_kept):
        return ranked_M[:num_kept].sort().values
    return (nearness_N >= nearness_N[ranked_M[num_kept - 1]]).nonzero()[:, 0]
