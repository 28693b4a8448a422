"""What remote models may cost: refused before it would be exceeded, and counted as the providers bill it."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import Field

from hanlin.core.connect.answer import Usage
from hanlin.core.connect.settings import needs_max_tokens
from hanlin.core.run.config import Config, build
from hanlin.core.run.errors import HanlinError, did_you_mean

PAGE = "docs/connect.md#budget"


class Price(Config):
    """Of one model, in your own currency."""

    input: float = Field(ge=0, description="for a million tokens that the model reads")
    output: float = Field(ge=0, description="for a million tokens that it writes, thoughts included")
    cached: float | None = Field(None, ge=0, description="for a million tokens it had read before; default: as input")


class Limits(Config):
    """What may be spent altogether."""

    tokens: int | None = Field(None, ge=1, description="tokens read and written; none: no limit")
    money: float | None = Field(None, gt=0, description="in the currency of prices; none: no limit")
    prices: dict[str, Price] = Field(
        {}, description="model name: {input: …, output: …, cached: …} for a million tokens"
    )


@dataclass(frozen=True)
class Spent:
    """money: of the models that have a price; None where none has. num_unknown: replies whose tokens nobody said."""

    num_requests: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    money: float | None = None
    num_unknown: int = 0

    def __str__(self) -> str:
        plural = "" if self.num_requests == 1 else "s"
        text = f"{self.num_requests:,} request{plural}, {self.input_tokens:,} + {self.output_tokens:,} tokens"
        text += f", {self.money:,.4f} spent" if self.money is not None else ""
        return text + (f" ({self.num_unknown} without a count)" if self.num_unknown else "")


@dataclass(frozen=True)
class Claim:
    """The most a request under way may cost."""

    model: str
    most: Usage
    tokens: int
    money: float
    patient: bool


class BudgetError(HanlinError):
    """The next request might exceed the budget; it was not sent."""


class Budget:
    """Shared by as many models and threads as it is handed to.

    A request claims the most it may cost (a token for each byte it sends, and max_tokens) before it is sent, and is
    settled with what the provider counted. Where the provider does not say, or the reply broke off, the claim itself
    is taken as spent, if there is a limit at all.
    """

    def __init__(
        self,
        tokens: int | None = None,
        money: float | None = None,
        prices: Mapping[str, Mapping[str, float] | Price] | None = None,
    ):
        values: dict[str, Any] = {"tokens": tokens, "money": money, "prices": dict(prices or {})}
        self.limits = build(Limits, values, "budget")
        self._changed = threading.Condition()
        self._spent = Spent(money=0.0 if self.limits.prices else None)
        self._claimed_tokens, self._claimed_money, self._num_patient = 0, 0.0, 0

    @property
    def spent(self) -> Spent:
        return self._spent

    @property
    def is_limited(self) -> bool:
        return self.limits.tokens is not None or self.limits.money is not None

    def __str__(self) -> str:
        limits = [f"{self.limits.tokens:,} tokens"] if self.limits.tokens is not None else []
        limits += [f"{self.limits.money:,.4f}"] if self.limits.money is not None else []
        return f"{self._spent}" + (f", of {' and '.join(limits)}" if limits else "")

    def claim(self, model: str, input_tokens: int, output_tokens: int | None, patient: bool = False) -> Claim:
        """Before a request is sent. patient: wait for other patient ones to be settled, if it may fit then.

        Raises BudgetError where it might not fit, HanlinError where that can't be known (no max_tokens, no price)."""
        if self.is_limited and output_tokens is None:
            raise needs_max_tokens()
        most = Usage(input_tokens, output_tokens or 0)
        claim = Claim(model, most, most.input_tokens + most.output_tokens, self._cost(model, most), patient)
        with self._changed:
            while lack := self._lack(claim):
                if not (patient and self._num_patient):
                    raise self._refusal(claim, lack)
                self._changed.wait()
            self._claimed_tokens += claim.tokens
            self._claimed_money += claim.money
            self._num_patient += patient
        return claim

    def settle(self, claim: Claim, usage: Usage | None, began: bool) -> None:
        """After a request. began: something of a reply came, so that it costs even where nobody says how much."""
        with self._changed:
            self._claimed_tokens -= claim.tokens
            self._claimed_money -= claim.money
            self._num_patient -= claim.patient
            if began:
                known = usage or (claim.most if self.is_limited else Usage())
                before = self._spent
                money = None if before.money is None else before.money + self._cost(claim.model, known)
                self._spent = Spent(
                    before.num_requests + 1,
                    before.input_tokens + known.input_tokens,
                    before.output_tokens + known.output_tokens,
                    money,
                    before.num_unknown + (usage is None),
                )
            self._changed.notify_all()

    def _cost(self, model: str, usage: Usage) -> float:
        price = self.limits.prices.get(model)
        if price is None:
            if self.limits.money is not None:
                near = did_you_mean(model, self.limits.prices) if self.limits.prices else "there are none"
                raise HanlinError(
                    f"The budget is in money, and {model} has no price.",
                    f"a price for it among prices; {near}",
                    f"prices={{{model!r}: {{'input': …, 'output': …}}}}, for a million tokens",
                    PAGE,
                )
            return 0.0
        cached = price.input if price.cached is None else price.cached
        read = (usage.input_tokens - usage.cached_tokens) * price.input + usage.cached_tokens * cached
        return (read + usage.output_tokens * price.output) / 1e6

    def _lack(self, claim: Claim) -> str:
        """What it would exceed; "" where it fits."""
        spent, limits = self._spent, self.limits
        tokens = spent.input_tokens + spent.output_tokens + self._claimed_tokens + claim.tokens
        if limits.tokens is not None and tokens > limits.tokens:
            return f"{tokens:,} of {limits.tokens:,} tokens"
        money = (spent.money or 0.0) + self._claimed_money + claim.money
        return f"{money:,.4f} of {limits.money:,.4f}" if limits.money is not None and money > limits.money else ""

    def _refusal(self, claim: Claim, lack: str) -> BudgetError:
        return BudgetError(
            f"Not sent: with this request {claim.model} might come to {lack}. So far: {self._spent}.",
            f"room for the most it may cost: {claim.tokens:,} tokens"
            + (f", {claim.money:,.4f}" if claim.money else ""),
            "a larger budget, a shorter request, or a smaller max_tokens",
            PAGE,
        )
