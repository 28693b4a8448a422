"""Asking again: exponential back-off with jitter, bounded by tries and by time.
https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import count
from typing import TypeVar

from hanlin.core.connect.failure import Failure

Result = TypeVar("Result")

LONGEST_WAIT_SECONDS = 30.0


@dataclass(frozen=True)
class Patience:
    """tries: requests altogether. seconds: from the first request to the last one's start.
    first_wait_seconds: before the second; each further wait is twice as long."""

    tries: int = 6
    seconds: float = 120.0
    first_wait_seconds: float = 0.5


class Exhausted(Exception):
    """It failed for good. tries: how often it was asked."""

    def __init__(self, failure: Failure, tries: int):
        self.failure, self.tries = failure, tries
        super().__init__(str(failure))


def keep_trying(
    attempt: Callable[[], Result],
    patience: Patience,
    sleep: Callable[[float], None] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
    draw: Callable[[], float] = random.random,
) -> Result:
    """attempt(), again while it raises a Failure that may pass. Raises Exhausted with the last one.

    A wait that the provider names is kept (and up to a tenth longer, so that those who wait don't return together);
    otherwise it lies between half and all of first_wait · 2^n."""
    begun = clock()
    for tries in count(1):
        try:
            return attempt()
        except Failure as failure:
            if failure.wait_seconds is not None:
                wait = failure.wait_seconds * (1 + 0.1 * draw())
            else:
                longest = min(LONGEST_WAIT_SECONDS, patience.first_wait_seconds * 2 ** (tries - 1))
                wait = longest * (0.5 + 0.5 * draw())
            is_last = tries >= patience.tries or clock() - begun + wait > patience.seconds
            if is_last or not failure.can_retry:
                raise Exhausted(failure, tries) from None
            sleep(wait)
    raise AssertionError("count never ends")
