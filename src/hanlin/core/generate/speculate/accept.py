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
    if torch.rand((), generator=random) * q_V[guess] < p_V[guess]:
        return guess
    rest_V = (p_V - q_V).clamp(min=0)
    if not rest_V.sum() > 0:  # p = q but for rounding
        rest_V = p_V
    return int(torch.multinomial(rest_V, 1, generator=random))
