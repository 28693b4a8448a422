"""From logits to the next token: repetition penalty, temperature, top-k, top-p, min-p, in transformers' order."""

from __future__ import annotations

import torch
from pydantic import Field

from hanlin.core.run.config import Config


class Sampling(Config):
    """How the next token is drawn. temperature 0 is greedy."""

    temperature: float = Field(0.8, ge=0, le=100, description="divides the logits; 0 always takes the likeliest token")
    top_k: int = Field(0, ge=0, description="keep the k likeliest tokens; 0 keeps all")
    top_p: float = Field(0.95, gt=0, le=1, description="keep the likeliest tokens whose probabilities reach p")
    min_p: float = Field(0.0, ge=0, lt=1, description="keep tokens at least this share as likely as the likeliest")
    repetition_penalty: float = Field(
        1.1, gt=0, le=10, description="divides positive (multiplies negative) logits of tokens already seen; 1 is off"
    )
    max_tokens: int = Field(256, ge=1, description="the longest reply, in tokens")
    stop: tuple[str, ...] = Field((), description="texts that end the reply; they are not shown")
    seed: int | None = Field(None, description="the same seed gives the same reply")


COLDEST = 1e-6
"""Below this temperature the likeliest token is all that is left, and logits divided by it would overflow."""

GREEDY = Sampling(temperature=0, repetition_penalty=1.0)


def next_token(logits_V: torch.Tensor, seen: torch.Tensor, sampling: Sampling, random: torch.Generator | None) -> int:
    """Draw one id. logits (V); seen: ids of prompt and reply so far, for the repetition penalty."""
    logits_V = penalise_repetition(logits_V.float(), seen, sampling.repetition_penalty)
    if sampling.temperature < COLDEST:
        return int(logits_V.argmax())
    probabilities_V = distribution(logits_V, sampling)
    return int(torch.multinomial(probabilities_V, 1, generator=random))


def distribution(logits_V: torch.Tensor, sampling: Sampling) -> torch.Tensor:
    """The filtered distribution, (V), summing to 1."""
    # COLDEST keeps this finite: float32 holds any model's logits times a million.
    logits_V = logits_V / sampling.temperature
    logits_V = keep_top_k(logits_V, sampling.top_k)
    logits_V = keep_top_p(logits_V, sampling.top_p)
    logits_V = keep_min_p(logits_V, sampling.min_p)
    return logits_V.softmax(-1)


def penalise_repetition(logits_V: torch.Tensor, seen: torch.Tensor, penalty: float) -> torch.Tensor:
    """Keskar et al. 2019, https://arxiv.org/abs/1909.05858: z/θ for z > 0, z·θ otherwise, for ids in `seen`."""
    if penalty == 1.0 or not len(seen):
        return logits_V
    chosen = logits_V[seen]
    return logits_V.index_put((seen,), torch.where(chosen > 0, chosen / penalty, chosen * penalty))


def keep_top_k(logits_V: torch.Tensor, k: int) -> torch.Tensor:
    """Fan et al. 2018, https://arxiv.org/abs/1805.04833."""
    if k == 0 or k >= len(logits_V):
        return logits_V
    return logits_V.masked_fill(logits_V < logits_V.topk(k).values[-1], -torch.inf)


def keep_top_p(logits_V: torch.Tensor, p: float) -> torch.Tensor:
    """Holtzman et al. 2019, https://arxiv.org/abs/1904.09751: the smallest set of likeliest tokens with mass ≥ p."""
    if p >= 1:
        return logits_V
    ascending, order = logits_V.sort()
    outside = ascending.softmax(-1).cumsum(-1) <= 1 - p
    outside[-1] = False
    return logits_V.masked_fill(torch.zeros_like(outside).scatter(0, order, outside), -torch.inf)


def keep_min_p(logits_V: torch.Tensor, p: float) -> torch.Tensor:
    """Nguyen et al. 2024, https://arxiv.org/abs/2407.01082: tokens with probability ≥ p · the greatest."""
    if p == 0:
        return logits_V
    probabilities_V = logits_V.softmax(-1)
    return logits_V.masked_fill(probabilities_V < p * probabilities_V.max(), -torch.inf)
