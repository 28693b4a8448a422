"""Top-p, the nucleus: the smallest set of likeliest tokens with mass ≥ p. Holtzman et al. 2019,
https://arxiv.org/abs/1904.09751, eq. 2 and 3."""

from __future__ import annotations

import torch

from hanlin.core.generate.strategies.largest import largest
from hanlin.core.generate.strategies.softmax import weights

LOOK = 256
"""How many of the likeliest are sorted first. A model that knows what it says needs a few dozen."""

BINS, BIN_NATS = 4096, 1 / 128


def keep(logits_N: torch.Tensor, p: float) -> torch.Tensor:
    """Places of those kept, ascending. Of equal logits at the edge the last stay, as in transformers."""
    ranked_M, num_kept = reach(logits_N, weights(logits_N), p)
    if not is_tied(logits_N, ranked_M, num_kept):
        return ranked_M[:num_kept].sort().values
    edge = logits_N[ranked_M[num_kept - 1]]
    inside_N, at_edge = logits_N > edge, (logits_N == edge).nonzero()[:, 0]
    inside_N[at_edge[len(at_edge) - (num_kept - int(inside_N.sum())) :]] = True
    return inside_N.nonzero()[:, 0]


def reach(rank_N: torch.Tensor, weights_N: torch.Tensor, share: float) -> tuple[torch.Tensor, int]:
    """Places by descending rank, and how many of the first have at least this share of all weight. Only near the last
    of those is the order sure, and behind it stands the next, unless that is certain to be lower."""
    needed = share * weights_N.sum()
    if len(rank_N) > 4 * LOOK:
        ranked_M = largest(rank_N, LOOK)[1]
        num_kept = _count(ranked_M, weights_N, needed)
        if num_kept < LOOK:
            return ranked_M, num_kept
        return _reach_by_bins(rank_N, weights_N, needed)
    ranked_N = rank_N.argsort(descending=True)
    return ranked_N, _count(ranked_N, weights_N, needed)


def is_tied(rank_N: torch.Tensor, ranked_M: torch.Tensor, num_kept: int) -> bool:
    """Whether the last one kept equals one that isn't."""
    return num_kept < len(ranked_M) and bool(rank_N[ranked_M[num_kept]] == rank_N[ranked_M[num_kept - 1]])


def _count(ranked_M: torch.Tensor, weights_N: torch.Tensor, needed: torch.Tensor) -> int:
    """How many of the ranked weigh what is needed; all when they don't."""
    sums_M = weights_N[ranked_M].cumsum(-1, dtype=torch.float64)
    return min(int((sums_M < needed).sum()) + 1, len(ranked_M))


def _reach_by_bins(rank_N: torch.Tensor, weights_N: torch.Tensor, needed: torch.Tensor) -> tuple[torch.Tensor, int]:
    """Sorts only the bin of ranks in which the sum reaches what is needed. The lowest bin holds all that is further
    below."""
    bins_N = ((rank_N - rank_N.max()) / BIN_NATS + BINS).clamp(0, BINS - 1).long()
    sums = torch.bincount(bins_N, weights_N.double(), minlength=BINS).flip(0).cumsum(0)
    number = min(int((sums < needed).sum()), BINS - 1)
    above, at_edge = (bins_N > BINS - 1 - number).nonzero()[:, 0], (bins_N == BINS - 1 - number).nonzero()[:, 0]
    ranked = at_edge[rank_N[at_edge].argsort(descending=True)]
    still_needed = needed - (sums[number - 1] if number else 0.0)
    return torch.cat([above, ranked]), len(above) + _count(ranked, weights_N, still_needed)
