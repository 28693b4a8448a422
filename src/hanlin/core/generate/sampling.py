"""From logits to the next token: what a user may ask for, and the strategies in their order."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterator, Sequence
from copy import copy
from functools import partial
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from pydantic import Field, ValidationInfo, field_validator

from hanlin.core.generate.strategies import (
    bias,
    dry,
    frequency,
    min_p,
    mirostat,
    no_repeat,
    repetition,
    temperature,
    top_k,
    top_p,
    typical,
)
from hanlin.core.generate.strategies.largest import place_of_largest
from hanlin.core.generate.strategies.softmax import probabilities
from hanlin.core.generate.strategies.temperature import COLDEST
from hanlin.core.run.config import Config
from hanlin.core.run.errors import RequestError
from hanlin.core.text.tokenizer import Tokenizer


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
    logit_bias: dict[int, float] = Field({}, description="token id: number added to its logit, before all else")
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
    top_logprobs: int | None = Field(
        None,
        ge=0,
        le=20,
        description="also say each token's log-probability, and those of so many of the likeliest in its place",
    )

    @field_validator("json_schema", mode="before")
    @classmethod
    def _written_out(cls, schema: Any) -> Any:
        """Options are YAML, in which a schema's text is an object."""
        return json.dumps(schema, ensure_ascii=False) if isinstance(schema, dict | bool) else schema

    @field_validator("regex", "grammar", "choices")
    @classmethod
    def _one_form(cls, value: Any, earlier: ValidationInfo) -> Any:
        given = [name for name in ("json_schema", "regex", "grammar") if earlier.data.get(name)]
        if value and given:
            raise ValueError(f"a reply has one form, and {given[0]} already gives it")
        return value

    @field_validator("mirostat")
    @classmethod
    def _mirostat_alone(cls, version: int, earlier: ValidationInfo) -> int:
        off = {"top_k": 0, "min_p": 0, "typical_p": 1}
        given = [name for name, value in off.items() if earlier.data.get(name, value) != value]
        if version and given:
            raise ValueError(f"mirostat itself decides how many tokens may come: leave {given[0]} out")
        return version

    @property
    def is_greedy(self) -> bool:
        return self.temperature < COLDEST


GREEDY = Sampling(temperature=0, repetition_penalty=1.0)


class Sampler:
    """The draws of one request: what was seen, mirostat's state, and the request's own random numbers.

    Steps in transformers' order: the user's own bias, what depends on the text so far (repetition, frequency and
    presence, no-repeat, DRY), what is allowed, temperature, then what is kept (top-k, top-p, min-p, typical; or
    mirostat alone).

    prompt: ids before the reply. breakers: runs of ids at which DRY takes a repetition as ended (see `breakers_of`).
    random: the request's own random numbers.
    """

    def __init__(self, sampling: Sampling, prompt: Sequence[int], breakers: Collection[Sequence[int]] = ()):
        self.sampling = sampling
        self._ids = np.array(prompt, dtype=np.int64)
        self._num_prompt = self._num_seen = len(prompt)
        self._breakers = dry.Breakers(breakers if sampling.dry_multiplier else ())
        self._mu = 2 * sampling.mirostat_tau
        self._latest: Candidates | None = None
        # Without a seed of its own a request takes one from torch, so that torch.manual_seed decides.
        seed = int(torch.randint(2**63 - 1, ())) if sampling.seed is None else sampling.seed
        self.random = torch.Generator().manual_seed(seed)

    def distribution(self, logits_V: torch.Tensor, allowed_V: torch.Tensor | None = None) -> torch.Tensor:
        """What the next token is drawn from, (V,) float32, summing to 1; greedy: all on the likeliest.

        allowed_V: bool, the tokens that may come; None for all. Raises HanlinError when none may."""
        if self.sampling.is_greedy:
            likeliest = self._likeliest(logits_V, allowed_V)
            return torch.zeros_like(logits_V, dtype=torch.float32).index_fill(0, likeliest, 1.0)
        left = self._left(logits_V, allowed_V)
        return left.probabilities.new_zeros(len(logits_V)).index_copy(0, left.ids, left.probabilities)

    def draw(self, logits_V: torch.Tensor, allowed_V: torch.Tensor | None = None) -> int:
        """One id of `distribution`'s. It is not taken as seen before `saw` says so."""
        if self.sampling.is_greedy:
            return int(self._likeliest(logits_V, allowed_V))
        left = self._left(logits_V, allowed_V)
        # One number a draw, whatever the vocabulary: the sum of probabilities that first exceeds it.
        sums_N = left.probabilities.cumsum(-1, dtype=torch.float64)
        drawn = torch.rand((), dtype=torch.float64, generator=self.random).item() * sums_N[-1:]
        place = int(torch.searchsorted(sums_N, drawn, right=True))
        return int(left.ids[min(place, len(sums_N) - 1)])

    def saw(self, token: int) -> None:
        """The reply's next token. Mirostat takes it as a draw from the latest distribution."""
        if self._num_seen == len(self._ids):
            self._ids = np.concatenate([self._ids, np.empty(len(self._ids) + 64, dtype=np.int64)])
        self._ids[self._num_seen] = token
        self._num_seen += 1
        if self._latest is not None:
            probability = float(self._latest.probabilities[self._latest.ids == token].sum())
            if probability > 0:
                s = self.sampling
                self._mu = mirostat.next_mu(self._mu, probability, s.mirostat_tau, s.mirostat_eta)
            self._latest = None

    def copy(self) -> Sampler:
        """The same state to go on from by itself; random numbers come from the same generator."""
        other = copy(self)
        other._ids = self._ids.copy()
        return other

    def _likeliest(self, logits_V: torch.Tensor, allowed_V: torch.Tensor | None) -> torch.Tensor:
        logits_V = _masked(self._penalised(logits_V), allowed_V)
        likeliest = place_of_largest(logits_V)
        _check_something_is_left(logits_V[likeliest])
        return likeliest

    def _left(self, logits_V: torch.Tensor, allowed_V: torch.Tensor | None) -> Candidates:
        """What may be drawn, ids ascending, and how likely each is."""
        logits_N, ids = _masked(self._penalised(logits_V), allowed_V), None
        _check_something_is_left(logits_N.max())
        if allowed_V is not None and torch.count_nonzero(allowed_V) < len(allowed_V) // 8:
            ids = allowed_V.nonzero()[:, 0].to(logits_N.device)  # a grammar's few: less to look through below
            logits_N = logits_N[ids]
        logits_N = temperature.divide(logits_N, self.sampling.temperature)
        for keep in self._filters(len(logits_V)):
            places = keep(logits_N)
            logits_N, ids = logits_N[places], places if ids is None else ids[places]
        if ids is None:
            ids = torch.arange(len(logits_N), device=logits_N.device)
        left = Candidates(ids, probabilities(logits_N))
        self._latest = left if self.sampling.mirostat else None
        return left

    def _penalised(self, logits_V: torch.Tensor) -> torch.Tensor:
        """After what depends on the text so far."""
        s, logits_V = self.sampling, logits_V.to(torch.promote_types(logits_V.dtype, torch.float32))
        seen = torch.from_numpy(self._ids[: self._num_seen]).to(logits_V.device)
        reply = seen[self._num_prompt :]
        if s.logit_bias:
            logits_V = bias.add(logits_V, s.logit_bias)
        if s.repetition_penalty != 1 and len(seen):
            logits_V = repetition.penalise(logits_V, seen, s.repetition_penalty)
        if (s.frequency_penalty or s.presence_penalty) and len(reply):
            logits_V = frequency.penalise(logits_V, reply, s.frequency_penalty, s.presence_penalty)
        if s.no_repeat_ngram:
            logits_V = no_repeat.forbid(logits_V, seen, s.no_repeat_ngram)
        if s.dry_multiplier and len(seen):
            logits_V = dry.penalise(logits_V, seen, s.dry_multiplier, s.dry_base, s.dry_allowed, self._breakers)
        return logits_V

    def _filters(self, vocab_size: int) -> Iterator[Callable[[torch.Tensor], torch.Tensor]]:
        """Each takes the logits that are left and gives the places of those it keeps."""
        s = self.sampling
        if s.mirostat == 1:
            yield partial(mirostat.keep_by_rank, mu=self._mu, vocab_size=vocab_size)
        elif s.mirostat == 2:
            yield partial(mirostat.keep_by_surprise, mu=self._mu)
        else:
            if s.top_k:
                yield partial(top_k.keep, k=s.top_k)
            if s.top_p < 1:
                yield partial(top_p.keep, p=s.top_p)
            if s.min_p:
                yield partial(min_p.keep, p=s.min_p)
            if s.typical_p < 1:
                yield partial(typical.keep, mass=s.typical_p)


def breakers_of(sampling: Sampling, tokenizer: Tokenizer) -> Collection[tuple[int, ...]]:
    """A sampler's `breakers`, for texts of this tokenizer."""
    return dry.breaker_runs(tokenizer, sampling.dry_breakers) if sampling.dry_multiplier else ()


class Candidates(NamedTuple):
    """Token ids (N,) int64, ascending, and their probabilities (N,) float32, summing to 1."""

    ids: torch.Tensor
    probabilities: torch.Tensor


def _masked(logits_V: torch.Tensor, allowed_V: torch.Tensor | None) -> torch.Tensor:
    return logits_V if allowed_V is None else logits_V.masked_fill(~allowed_V.to(logits_V.device), -torch.inf)


def _check_something_is_left(largest_logit: torch.Tensor) -> None:
    if largest_logit == -torch.inf:
        raise RequestError(
            "No token may come next: what the reply has to look like and what it must not repeat leave nothing.",
            "a schema, regex, grammar or choice that can be met, and no_repeat_ngram=0 beside one",
            "hanlin generate …  without no_repeat_ngram, or with a wider form",
            "docs/generate.md",
        )
