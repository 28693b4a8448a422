"""Asking again: how long, how often, and when not."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from hanlin.core.connect.failure import Failure, _wait_seconds
from hanlin.core.connect.patience import Exhausted, Patience, keep_trying


class Clock:
    """Time that passes by sleeping alone."""

    def __init__(self) -> None:
        self.now = 0.0
        self.slept: list[float] = []

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


def tried(failures: list[Failure], patience: Patience, draw: float = 1.0) -> Clock:
    clock, left = Clock(), list(failures)

    def attempt() -> str:
        if left:
            raise left.pop(0)
        return "answered"

    assert keep_trying(attempt, patience, clock.sleep, lambda: clock.now, lambda: draw) == "answered"
    return clock


def test_waits_double_and_jitter_takes_up_to_half() -> None:
    failures = [Failure("busy", 503)] * 4
    assert tried(failures, Patience(first_wait_seconds=1)).slept == [1, 2, 4, 8]
    assert tried(failures, Patience(first_wait_seconds=1), draw=0).slept == [0.5, 1, 2, 4]


def test_what_the_provider_says_is_kept() -> None:
    assert tried([Failure("slow down", 429, wait_seconds=20)], Patience()).slept == [pytest.approx(22)]
    assert tried([Failure("slow down", 429, wait_seconds=20)], Patience(), draw=0).slept == [20]


@pytest.mark.parametrize("status", [None, 408, 409, 429, 500, 503, 529])
def test_what_may_pass_is_asked_again(status: int | None) -> None:
    assert len(tried([Failure("busy", status)], Patience()).slept) == 1


@pytest.mark.parametrize(
    ("failures", "patience", "tries"),
    [
        ([Failure("no", 400)], Patience(), 1),
        ([Failure("no money", 429, can_retry=False)], Patience(), 1),
        ([Failure("busy", 503)] * 9, Patience(tries=3), 3),
        ([Failure("slow down", 429, wait_seconds=61)], Patience(seconds=60), 1),
    ],
)
def test_when_it_gives_up(failures: list[Failure], patience: Patience, tries: int) -> None:
    with pytest.raises(Exhausted) as caught:
        tried(failures, patience)
    assert caught.value.tries == tries


def test_all_forms_of_a_wait() -> None:
    date = format_datetime(datetime.now(UTC) + timedelta(seconds=100), usegmt=True)
    assert _wait_seconds({"retry-after": "3"}, {}) == 3
    assert _wait_seconds({"retry-after-ms": "250", "retry-after": "3"}, {}) == 0.25
    assert 90 < (_wait_seconds({"retry-after": date}, {}) or 0) <= 100
    assert _wait_seconds({}, {"details": [{"retryDelay": "7s"}]}) == 7
    assert _wait_seconds({"retry-after": "soon"}, {}) is None
