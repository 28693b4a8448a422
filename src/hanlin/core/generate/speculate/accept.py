"""Which guesses stand. Leviathan et al. 2023, https://arxiv.org/abs/2211.17192, section 2.3.

A guess x drawn from q stands with probability min(1, p(x)/q(x)); else the token is drawn from max(p − q, 0), made to
sum to 1. Either way it is distributed as p. A guess without a q is right when the model's own draw is the same token:
then even the random numbers are used as without guesses, and the same seed writes the same text.
"""

from __future__ import annotations

import torch

from hanlin.core.generate.sampling import Sampler


def next_token(
    sampler: Sampler,
    logits_V: torch.Tensor,
    allowed_V: torch.Tensor | None,
    guess: int | None,
    shares_kV: torch.Tensor | None,
    place: int,
) -> int:
    """The token after the ones before `place`; the guess itself where it stands."""
    if guess is None or shares_kV is None:
        return sampler.draw(logits_V, allowed_V)
    return stand_or_replace(sampler.distribution(logits_V, allowed_V), shares_kV[place], guess, sampler.random)


def stand_or_replace(p_V: torch.Tensor, q_V: torch.Tensor, guess: int, random: torch.Generator | None) -> int:
    """A token distributed as p, given a guess that was drawn from q."""
    if torch.rand((), generator=random).item() * q_V[guess] < p_V[guess]:
        return guess
    rest_V = (p_V - q_V).clamp(min=0)
    return draw_from(rest_V if rest_V.sum() > 0 else p_V, random)  # p = q but for rounding


def draw_from(shares_V: torch.Tensor, random: torch.Generator | None) -> int:
    """A token as likely as its share, whatever they sum to: the one whose sum of shares first exceeds one random
    number."""
    ids = shares_V.nonzero()[:, 0]
    sums_N = shares_V[ids].cumsum(-1, dtype=torch.float64)
    drawn = torch.rand((), dtype=torch.float64, generator=random).item() * sums_N[-1:]
    place = int(torch.searchsorted(sums_N, drawn, right=True))
    return int(ids[min(place, len(ids) - 1)])
