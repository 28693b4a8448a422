"""The learning rate over the run: rise, stay, fall to zero."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hanlin.core.train.schedule import rate_scale

SHARES = st.floats(0, 1)
WARMUPS = st.floats(0, 0.99)


@given(st.floats(0, 1, exclude_max=True), WARMUPS, SHARES)
def test_it_stays_between_zero_and_one(progress: float, warmup: float, decay: float) -> None:
    assert 0 <= rate_scale(progress, warmup, decay) <= 1


@given(WARMUPS, st.floats(0.01, 1))
def test_it_falls_to_zero_at_the_end(warmup: float, decay: float) -> None:
    assert rate_scale(1.0, warmup, decay) == 0
    assert rate_scale(1 - 1e-6, warmup, decay) <= 1.0001e-6 / decay


@given(st.floats(0, 1), st.floats(0.01, 1))
def test_closed_form_without_warmup(progress: float, decay: float) -> None:
    wanted = 1.0 if progress < 1 - decay else (1 - progress) / decay
    assert rate_scale(progress, 0.0, decay) == pytest.approx(wanted, abs=1e-9)


@given(st.floats(0, 1), st.floats(0.01, 0.99))
def test_closed_form_of_the_rise(progress: float, warmup: float) -> None:
    """The first step already moves: a run of few steps would waste one at rate zero."""
    assert rate_scale(progress, warmup, 0.0) == pytest.approx(min(1, (progress + 1e-3) / warmup), abs=1e-9)
    assert rate_scale(0.0, warmup, 0.0) > 0


@given(st.floats(0, 1), st.floats(0, 1), SHARES)
def test_after_the_rise_it_never_rises_again(first: float, second: float, decay: float) -> None:
    early, late = sorted((first, second))
    assert rate_scale(early, 0.0, decay) >= rate_scale(late, 0.0, decay)


def test_constant_when_asked() -> None:
    assert {rate_scale(progress / 10, 0.0, 0.0) for progress in range(10)} == {1.0}
