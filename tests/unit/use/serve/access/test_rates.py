"""The sliding window: a limit is never passed, in no span, whatever is asked when."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hanlin.use.serve.access.rates import Window

STEPS = st.lists(
    st.tuples(
        st.floats(0, 40, allow_nan=False),  # seconds since the one before
        st.integers(1, 12),  # asked for
        st.integers(0, 12),  # used of it
    ),
    max_size=60,
)


@given(steps=STEPS, limit=st.integers(1, 20), grain=st.sampled_from([0.0, 1.0, 7.0]))
def test_no_span_ever_has_more_than_the_limit(steps: list[tuple[float, int, int]], limit: int, grain: float):
    window, now, taken = Window(60, grain), 0.0, []
    for pause, asked, used in steps:
        now += pause
        if window.wait_seconds(asked, limit, now) == 0:
            leaves = window.take(asked, now)
            used = min(used, asked)
            window.give_back(asked - used, leaves)
            taken.append((now, used))
    for start, _ in taken:
        assert sum(amount for at, amount in taken if start <= at < start + 60) <= limit


@given(steps=STEPS, limit=st.integers(1, 20), grain=st.sampled_from([0.0, 1.0, 7.0]))
def test_who_waits_as_long_as_told_is_let_in(steps: list[tuple[float, int, int]], limit: int, grain: float):
    window, now = Window(60, grain), 0.0
    for pause, asked, _ in steps:
        now += pause
        wait = window.wait_seconds(asked, limit, now)
        if asked > limit:
            assert wait == math.inf
            continue
        assert 0 <= wait <= 60 + grain + 1e-9  # the times' own rounding
        now += wait + 1e-6
        assert window.wait_seconds(asked, limit, now) == 0
        window.take(asked, now)


@given(amounts=st.lists(st.tuples(st.floats(0, 1000, allow_nan=False), st.integers(1, 9)), max_size=200))
def test_memory_is_bounded_by_the_grain(amounts: list[tuple[float, int]]):
    window = Window(60, grain_seconds=1.0)
    for at, amount in sorted(amounts):
        window.take(amount, at)
        assert len(window._entries) <= 62


def test_a_clock_set_back_lets_nobody_in_early():
    window = Window(60)
    window.take(5, 1000.0)
    window.take(5, 10.0)
    assert window.wait_seconds(1, 10, 900.0) == pytest.approx(160)


def test_what_was_known_before_counts():
    window = Window(60)
    window.restore([(120.0, 7), (90.0, 3)])
    assert window.used == 10
    assert window.wait_seconds(1, 10, 80.0) == pytest.approx(10)
    assert window.reset_seconds(80.0) == pytest.approx(40)


def test_what_has_left_is_not_given_back_twice():
    window = Window(60)
    leaves = window.take(5, 0.0)
    assert window.wait_seconds(1, 5, 61.0) == 0
    window.give_back(5, leaves)
    assert window.used == 0
