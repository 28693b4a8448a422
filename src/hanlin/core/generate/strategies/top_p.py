"""Top-p, the nucleus: the smallest set of likeliest tokens with mass ≥ p. Holtzman et al. 2019,
https://arxiv.org/abs/1904.09751, eq. 2 and 3."""

from __future__ import annotations

import torch

from hanlin.core.generate.strategies.largest import largest
from hanlin.core.generate.strategies.log_probabilities import log_probabilities

LOOK = 256
"""How many of the likeliest are sorted first. A model that knows what it says needs a few dozen."""

BINS, BIN_NATS = 4096, 1 / 128


def keep(logits_N: torch.Tensor, p: float) -> torch.Tensor:
    """Places of those kept, ascending. Of equal logits at the edge the last stay, as in transformers."""
    places = reach(logits_N, log_probabilities(logits_N), p)
    edge = logits_N[places].min()
    num_at_edge = torch.count_nonzero(logits_N[places] == edge)
    at_edge_N = logits_N == edge
    if torch.count_nonzero(at_edge_N) == num_at_edge:
        return places.sort().values
    inside_N = logits_N > edge
    inside_N[at_edge_N.nonzero()[-num_at_edge:, 0]] = True
    return inside_N.nonzero()[:, 0]


def reach(rank_N: torch.Tensor, log_probabilities_N: torch.Tensor, mass: float) -> torch.Tensor:
    """Places of the smallest set by descending rank with a sum of probabilities ≥ mass, in no order. Which of those
    that equal the last is not said."""
    if len(rank_N) <= 4 * LOOK:
        return _first(rank_N.argsort(descending=True), log_probabilities_N, mass)
    places = _first(largest(rank_N, LOOK)[1], log_probabilities_N, mass)
    return places if len(places) < LOOK else _reach_by_bins(rank_N, log_probabilities_N, mass)


def _first(
    ranked_M: torch.Tensor, log_probabilities_N: torch.Tensor, mass: float, before: float | torch.Tensor = 0.0
) -> torch.Tensor:
    """As many of the ranked as reach `mass` together with a mass `before` them; all when they don't."""
    sums_M = before + log_probabilities_N[ranked_M].double().exp().cumsum(-1)
    return ranked_M[: int((sums_M < mass).sum()) + 1]


def _reach_by_bins(rank_N: torch.Tensor, log_probabilities_N: torch.Tensor, mass: float) -> torch.Tensor:
    """Sorts only the bin of ranks in which the sum reaches `mass`. The lowest bin holds all that is further below."""
    bins_N = ((rank_N - rank_N.max()) / BIN_NATS + BINS).clamp(0, BINS - 1).long()
    masses = torch.bincount(bins_N, log_probabilities_N.double().exp(), minlength=BINS).flip(0).cumsum(0)
    number = min(int((masses < mass).sum()), BINS - 1)
    at_edge = (bins_N == BINS - 1 - number).nonzero()[:, 0]
    above = (bins_N > BINS - 1 - number).nonzero()[:, 0]
    ranked = at_edge[rank_N[at_edge].argsort(descending=True)]
    return torch.cat([above, _first(ranked, log_probabilities_N, mass, masses[number - 1] if number else 0.0)])
