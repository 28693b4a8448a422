"""From logits to the next token: repetition penalty, temperature, top-k, top-p, min-p, in transformers' order."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from copy import copy
from typing import Any, Literal

import torch
from pydantic import Field, ValidationInfo, field_validator

from hanlin.core.run.config import Config


class Sampling(Config):
    """How the next token is drawn. temperature 0 is greedy."""

    temperature: float = Field(0.8, ge=0, le=100, description="divides the logits; 0 always takes the likeliest token")
    top_k: int = Field(0, ge=0, description="keep the k likeliest tokens; 0 keeps all")
    top_p: float = Field(0.95, gt=0, le=1, description="keep the likeliest tokens whose probabilities reach p")
    min_p: float = Field(0.0, ge=0, lt=1, description="keep tokens at least this share as likely as the likeliest")
    typical_p: float = Field(
        1.0,
        gt=0,
        le=1,
        description="keep the tokens about as surprising as is usual here, until they reach p; 1 is off",
    )
    repetition_penalty: float = Field(
        1.1, gt=0, le=10, description="divides positive (multiplies negative) logits of tokens already seen; 1 is off"
    )
    frequency_penalty: float = Field(
        0.0, ge=-2, le=2, description="taken off a token's logit for each time the reply has it"
    )
    presence_penalty: float = Field(0.0, ge=-2, le=2, description="taken off the logit of each token the reply has")
    no_repeat_ngram: int = Field(0, ge=0, description="no run of this many tokens comes twice; 0 is off")
    dry_multiplier: float = Field(
        0.0, ge=0, le=100, description="strength of DRY, taken off what would go on with a repetition; 0 is off"
    )
    dry_base: float = Field(1.75, ge=1, le=10, description="how much DRY grows with each more repeated token")
    dry_allowed: int = Field(2, ge=1, description="repetitions shorter than this many tokens cost nothing")
    dry_breakers: tuple[str, ...] = Field(
        ("\n", ":", '"', "*", "：", "「", "」"), description="texts at which DRY takes a repetition as ended"
    )
    mirostat: Literal[0, 1, 2] = Field(
        0,
        description="holds the reply's surprise at a target (version 1 or 2), instead of top-k, top-p, min-p, typical",
    )
    mirostat_tau: float = Field(5.0, gt=0, le=100, description="mirostat's target, bits a token")
    mirostat_eta: float = Field(0.1, gt=0, le=1, description="how fast mirostat corrects itself")
    json_schema: str = Field("", description="the reply is JSON that follows this schema (its text)")
    regex: str = Field("", description="the reply matches this regular expression")
    grammar: str = Field("", description="the reply follows this Lark grammar (its text)")
    choices: tuple[str, ...] = Field((), description="the reply is one of these texts")
    script: Literal["", "zh-TW"] = Field("", description="zh-TW: characters that are Simplified only can't be drawn")
    wording: Literal["", "zh-TW"] = Field("", description="zh-TW: what is read is put into Taiwan's words (OpenCC)")
    max_tokens: int = Field(256, ge=1, description="the longest reply, in tokens")
    stop: tuple[str, ...] = Field((), description="texts that end the reply; they are not shown")
    seed: int | None = Field(None, description="the same seed gives the same reply")

    @field_validator("regex", "grammar", "choices")
    @classmethod
    def _one_form(cls, value: Any, earlier: ValidationInfo) -> Any:
        given = [name for name in ("json_schema", "regex", "grammar") if earlier.data.get(name)]
        if value and given:
            raise ValueError(f"a reply has one form, and {given[0]} already gives it")
        return value


COLDEST = 1e-6
"""Below this temperature the likeliest token is all that is left, and logits divided by it would overflow."""

GREEDY = Sampling(temperature=0, repetition_penalty=1.0)


class Sampler:
    """The draws of one request: what was seen, and the request's own random numbers.

    prompt: ids before the reply. breakers: the ids of `dry_breakers`' texts.
    """

    def __init__(self, sampling: Sampling, prompt: Sequence[int], breakers: Collection[Sequence[int]] = ()):
        self.sampling = sampling
        self._seen = list(prompt)
        self._random = torch.Generator()
        if sampling.seed is None:
            self._random.seed()
        else:
            self._random.manual_seed(sampling.seed)

    def distribution(self, logits_V: torch.Tensor, allowed_V: torch.Tensor | None = None) -> torch.Tensor:
        """What the next token is drawn from, (V,) float32, summing to 1; greedy: all on the likeliest."""
        logits_V = self._penalised(logits_V, allowed_V)
        if self.sampling.temperature < COLDEST:
            return torch.zeros_like(logits_V).index_fill(0, logits_V.argmax(), 1.0)
        return distribution(logits_V, self.sampling)

    def draw(self, logits_V: torch.Tensor, allowed_V: torch.Tensor | None = None) -> int:
        """One id. It is not taken as seen before `saw` says so."""
        logits_V = self._penalised(logits_V, allowed_V)
        if self.sampling.temperature < COLDEST:
            return int(logits_V.argmax())
        return int(torch.multinomial(distribution(logits_V, self.sampling), 1, generator=self._random))

    def saw(self, token: int) -> None:
        """The reply's next token."""
        self._seen.append(token)

    def copy(self) -> Sampler:
        """The same state to go on from by itself; random numbers come from the same generator."""
        other = copy(self)
        other._seen = list(self._seen)
        return other

    def _penalised(self, logits_V: torch.Tensor, allowed_V: torch.Tensor | None) -> torch.Tensor:
        seen = torch.tensor(self._seen, device=logits_V.device, dtype=torch.long)
        logits_V = penalise_repetition(logits_V.float(), seen, self.sampling.repetition_penalty)
        return logits_V if allowed_V is None else logits_V.masked_fill(~allowed_V, -torch.inf)


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
