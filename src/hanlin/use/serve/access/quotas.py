"""What each key has used, and whether it may go on: requests and tokens a minute, tokens a day, replies at once.

A reply's tokens aren't known before it is written, so its prompt and the most it may write are taken at the beginning
and what was not needed is given back at the end, as OpenAI counts them. A limit is never passed, not even by replies
that run at the same time.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from hanlin.use.serve.access.day_store import DayStore
from hanlin.use.serve.access.keys import Key
from hanlin.use.serve.access.rates import Window
from hanlin.use.serve.errors import ApiError

MINUTE, DAY = 60.0, 86400.0
Clock = Callable[[], float]


@dataclass
class Usage:
    """Of one key."""

    requests: Window = field(default_factory=lambda: Window(MINUTE))
    tokens: Window = field(default_factory=lambda: Window(MINUTE, grain_seconds=1.0))
    day: Window = field(default_factory=lambda: Window(DAY, grain_seconds=60.0))
    num_streams: int = 0


@dataclass
class Reservation:
    """Tokens taken for one reply, and its place among the key's streams."""

    quotas: Quotas
    key: Key
    tokens: int
    minute_leaves: float
    day_leaves: float
    settled: bool = False

    def settle(self, used_tokens: int) -> None:
        """Give back what was not needed. More than once is once."""
        if not self.settled:
            self.settled = True
            self.quotas.settle(self, max(0, self.tokens - used_tokens))


class Quotas:
    """For all keys. clock: of the minutes. wall: of the day, in seconds since 1970, as it outlives the process."""

    def __init__(self, store: DayStore | None = None, clock: Clock = time.monotonic, wall: Clock = time.time):
        self._store, self._clock, self._wall = store, clock, wall
        self._usage: dict[str, Usage] = {}
        for id, entries in store.known(wall()).items() if store is not None else ():
            self._of(id).day.restore(entries)

    def admit(self, key: Key) -> None:
        """Count one request. Raises ApiError 429."""
        window, limit, now = self._of(key.id).requests, key.requests_per_minute, self._clock()
        if limit:
            wait = window.wait_seconds(1, limit, now)
            if wait:
                raise self._refused(key, f"requests per minute: limit {limit}", wait)
            window.take(1, now)

    def reserve(self, key: Key, tokens: int) -> Reservation:
        """Take a place and the tokens a reply may come to. Raises ApiError 429."""
        usage, now, today = self._of(key.id), self._clock(), self._wall()
        if key.streams and usage.num_streams >= key.streams:
            raise self._refused(key, f"replies at the same time: limit {key.streams}", 1.0, "too_many_streams")
        for window, limit, at, unit, code in (
            (usage.tokens, key.tokens_per_minute, now, "minute", "rate_limit_exceeded"),
            (usage.day, key.tokens_per_day, today, "day", "insufficient_quota"),
        ):
            wait = window.wait_seconds(tokens, limit, at) if limit else 0.0
            if wait:
                counts = f"limit {limit:,}, used {window.used:,.0f}, asked for {tokens:,} (prompt and max_tokens)"
                raise self._refused(key, f"tokens per {unit}: {counts}", wait, code)
        usage.num_streams += 1
        reservation = Reservation(self, key, tokens, usage.tokens.take(tokens, now), usage.day.take(tokens, today))
        self._store_day(key, reservation.day_leaves, tokens)
        return reservation

    def settle(self, reservation: Reservation, unused_tokens: int) -> None:
        """At a reply's end: its place is free, and so many tokens were not needed."""
        usage = self._of(reservation.key.id)
        usage.num_streams -= 1
        usage.tokens.give_back(unused_tokens, reservation.minute_leaves)
        usage.day.give_back(unused_tokens, reservation.day_leaves)
        self._store_day(reservation.key, reservation.day_leaves, -unused_tokens)

    def headers(self, key: Key) -> dict[str, str]:
        """What is left, by OpenAI's names; those of the day are ours."""
        usage, now, today = self._of(key.id), self._clock(), self._wall()
        told: dict[str, str] = {}
        for name, window, limit, at in (
            ("requests", usage.requests, key.requests_per_minute, now),
            ("tokens", usage.tokens, key.tokens_per_minute, now),
            ("tokens-day", usage.day, key.tokens_per_day, today),
        ):
            if limit:
                reset = window.reset_seconds(at)
                told[f"x-ratelimit-limit-{name}"] = str(limit)
                told[f"x-ratelimit-remaining-{name}"] = str(max(0, limit - math.ceil(window.used)))
                told[f"x-ratelimit-reset-{name}"] = spelled(reset)
        return told

    def _of(self, id: str) -> Usage:
        return self._usage.setdefault(id, Usage())

    def _store_day(self, key: Key, leaves: float, tokens: float) -> None:
        if self._store is not None and key.tokens_per_day and tokens:
            self._store.add(key.id, leaves, tokens)

    def _refused(self, key: Key, what: str, wait: float, code: str = "rate_limit_exceeded") -> ApiError:
        if wait == math.inf:
            message = f'This request is larger than key "{key.name}" may make. {what[0].upper()}{what[1:]}.'
            return ApiError(429, message, code=code, headers={"x-should-retry": "false"})
        seconds = math.ceil(wait)
        message = f'Limit of key "{key.name}" reached. {what[0].upper()}{what[1:]}. Try again in {spelled(wait)}.'
        headers = {"Retry-After": str(seconds)}
        if wait > MINUTE:  # OpenAI's clients retry by themselves, which would be in vain
            headers["x-should-retry"] = "false"
        return ApiError(429, message, code=code, headers=headers)


def spelled(seconds: float) -> str:
    """As OpenAI writes a span of time: `1s`, `6m0s`, `23h59m1s`."""
    whole = math.ceil(seconds)
    hours, minutes = whole // 3600, whole // 60 % 60
    return f"{hours}h{minutes}m{whole % 60}s" if hours else f"{minutes}m{whole % 60}s" if minutes else f"{whole}s"
