"""Mirostat: a text whose surprise stays near a target τ, bits a token. Basu et al. 2021, https://arxiv.org/abs/2007.14966,
algorithm 1; version 2 is the authors' simpler one, https://github.com/basusourya/mirostat.

Before each token all that would surprise by more than about μ bits is left out; after it, μ ← μ − η·(surprise − τ).
Both versions measure the surprise within what was left, as llama.cpp does.
"""

from __future__ import annotations

import math

import torch

from hanlin.core.generate.strategies import top_k
from hanlin.core.generate.strategies.largest import largest
from hanlin.core.generate.strategies.softmax import weights

ZIPF_TOKENS = 100
"""m: from how many of the likeliest tokens version 1 estimates Zipf's exponent."""


def keep_by_surprise(logits_N: torch.Tensor, mu: float) -> torch.Tensor:
    """Version 2. Places of those kept, ascending: {i : −log₂ P_i ≤ μ}, and at least the likeliest."""
    weights_N = weights(logits_N)
    floor = (weights_N.sum() * 2.0 ** min(-mu, 0.0)).clamp(max=1.0)
    return (weights_N >= floor).nonzero()[:, 0]


def keep_by_rank(logits_N: torch.Tensor, mu: float, vocab_size: int) -> torch.Tensor:
    """Version 1. Places of those kept, ascending: the k likeliest, of which by Zipf's law (P of rank r ∝ r^−s) the last
    surprises by μ bits: k = (ε·2^μ / (1 − V^−ε))^(1/s), ε = s − 1."""
    values_m, _ = largest(logits_N, min(ZIPF_TOKENS, len(logits_N)))
    s = zipf_exponent(values_m)
    if s <= 0:
        return top_k.keep(logits_N, len(logits_N))
    epsilon = s - 1
    # ε → 0 gives 1/log V; at ε itself the quotient would be 0/0.
    share = epsilon / -math.expm1(-epsilon * math.log(vocab_size)) if abs(epsilon) > 1e-9 else 1 / math.log(vocab_size)
    log_k = (math.log(share) + mu * math.log(2)) / s
    k = int(math.exp(log_k)) if log_k < math.log(len(logits_N)) else len(logits_N)
    return top_k.keep(logits_N, max(1, k))


def zipf_exponent(values_m: torch.Tensor) -> float:
    """s by least squares on neighbouring ranks: Σ t·b / Σ t², t_i = log((i + 1)/i), b_i = z_i − z_(i+1); values
    descending."""
    values_m = values_m[values_m.isfinite()].double()
    ranks = torch.arange(1, len(values_m) + 1, device=values_m.device, dtype=torch.float64)
    t, b = ranks.log().diff(), -values_m.diff()
    return float((t * b).sum() / (t * t).sum()) if len(t) else 0.0


def next_mu(mu: float, probability: float, tau: float, eta: float) -> float:
    """μ after a token of this probability."""
    return mu - eta * (-math.log2(probability) - tau)
