"""How likely the model itself found a token, before any strategy: log softmax(z)."""

from __future__ import annotations

from typing import NamedTuple

import torch


class Logprobs(NamedTuple):
    """Of one place in a text: the written token's, and (id, log-probability) of the likeliest, best first."""

    own: float
    likeliest: tuple[tuple[int, float], ...]


def logprobs_of(logits_V: torch.Tensor, token: int, count: int) -> Logprobs:
    """In float64: float32 sums over a large vocabulary are off by 4e-5."""
    logits_V = logits_V.double()
    whole = logits_V.logsumexp(-1)
    best, ids = logits_V.topk(min(count, len(logits_V)))
    likeliest = zip(ids.tolist(), (best - whole).tolist())
    return Logprobs(float(logits_V[token] - whole), tuple(likeliest))
