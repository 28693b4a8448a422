"""What a key may still do; the clock is the test's own."""

from __future__ import annotations

import contextlib
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hanlin.core.run.errors import HanlinError
from hanlin.use.serve.access.day_store import DayStore
from hanlin.use.serve.access.keys import Key
from hanlin.use.serve.access.quotas import Quotas, spelled
from hanlin.use.serve.errors import ApiError


class Clock:
    def __init__(self, now: float = 1_000_000.0):
        self.now = now

    def __call__(self) -> float:
        return self.now


def key_with(**limits: object) -> Key:
    made = datetime(2026, 1, 1, tzinfo=UTC)
    return Key(name="web", id="0" * 8, salt="0" * 32, hash="0" * 64, created=made, **limits)


def refusal(work: object) -> ApiError:
    with pytest.raises(ApiError) as caught:
        work()
    assert caught.value.status == 429
    return caught.value


def test_requests_per_minute():
    clock = Clock()
    quotas, key = Quotas(clock=clock), key_with(requests_per_minute=2)
    quotas.admit(key)
    clock.now += 20
    quotas.admit(key)
    refused = refusal(lambda: quotas.admit(key))
    assert refused.code == "rate_limit_exceeded" and refused.headers["Retry-After"] == "40"
    assert quotas.headers(key) == {
        "x-ratelimit-limit-requests": "2",
        "x-ratelimit-remaining-requests": "0",
        "x-ratelimit-reset-requests": "1m0s",
    }
    clock.now += 40
    quotas.admit(key)


def test_tokens_are_taken_at_the_beginning_and_given_back_at_the_end():
    clock = Clock()
    quotas, key = Quotas(clock=clock), key_with(tokens_per_minute=100)
    first = quotas.reserve(key, 80)
    assert refusal(lambda: quotas.reserve(key, 30)).code == "rate_limit_exceeded"
    first.settle(10)
    first.settle(10)
    assert quotas.headers(key)["x-ratelimit-remaining-tokens"] == "90"
    quotas.reserve(key, 90)


def test_a_request_larger_than_the_limit_is_not_worth_trying_again():
    refused = refusal(lambda: Quotas().reserve(key_with(tokens_per_minute=100), 101))
    assert refused.headers == {"x-should-retry": "false"}
    assert "larger" in refused.message


def test_streams_at_the_same_time():
    quotas, key = Quotas(), key_with(streams=2)
    first = quotas.reserve(key, 1)
    quotas.reserve(key, 1)
    assert refusal(lambda: quotas.reserve(key, 1)).code == "too_many_streams"
    first.settle(1)
    quotas.reserve(key, 1)


def test_tokens_per_day_outlive_the_server(tmp_path: Path):
    wall, key = Clock(), key_with(tokens_per_day=1000)
    store = DayStore(tmp_path / "usage")
    quotas = Quotas(store, wall=wall)
    quotas.reserve(key, 700).settle(600)
    quotas.reserve(key, 300)  # the server is killed here: what a reply took stays taken
    store.close()
    later = DayStore(tmp_path / "usage")
    again = Quotas(later, wall=wall)
    assert again.headers(key)["x-ratelimit-remaining-tokens-day"] == "100"
    refused = refusal(lambda: again.reserve(key, 101))
    assert refused.code == "insufficient_quota" and refused.headers["x-should-retry"] == "false"
    wall.now += 86400 + 60
    again.reserve(key, 1000)
    later.close()


def test_a_file_that_is_no_store_is_a_clear_error(tmp_path: Path):
    (tmp_path / "usage").write_text("not a database, and long enough to be seen as none" * 20)
    with pytest.raises(HanlinError, match="tokens per day"):
        DayStore(tmp_path / "usage")


def test_keys_dont_share_their_limits():
    quotas, key = Quotas(), key_with(requests_per_minute=1)
    quotas.admit(key)
    quotas.admit(key.model_copy(update={"id": "1" * 8}))


@given(
    steps=st.lists(
        st.tuples(st.floats(0, 30, allow_nan=False), st.integers(1, 60), st.integers(0, 60), st.booleans()), max_size=40
    )
)
def test_replies_at_the_same_time_never_pass_a_limit(steps: list[tuple[float, int, int, bool]]):
    """Each step a reply may begin, and the oldest may end having used some of what it took."""
    clock, key, running, used = Clock(), key_with(tokens_per_minute=100), [], []
    quotas = Quotas(clock=clock)
    for pause, tokens, share, ends in steps:
        clock.now += pause
        with contextlib.suppress(ApiError):
            running.append((clock.now, quotas.reserve(key, tokens)))
        if ends and running:
            began, reservation = running.pop(0)
            used.append((began, min(share, reservation.tokens)))
            reservation.settle(min(share, reservation.tokens))
    used += [(began, reservation.tokens) for began, reservation in running]
    for start, _ in used:
        assert sum(tokens for at, tokens in used if start <= at < start + 60) <= 100


def test_spans_of_time_as_openai_writes_them():
    assert [spelled(seconds) for seconds in (0, 0.2, 59, 360, 86341)] == ["0s", "1s", "59s", "6m0s", "23h59m1s"]
