"""The learning rate over the run: a rise, then one of four shapes; torch's schedulers say the same."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from typing import Any, get_args

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.optim import lr_scheduler

from hanlin.core.train.schedule import Schedule, rate_scale

SCHEDULES = st.sampled_from(get_args(Schedule))
FALLING = st.sampled_from(["linear", "cosine", "wsd"])
SHARES = st.floats(0, 1)
WARMUPS = st.floats(0, 0.99)
NUM_STEPS = 1000


def trapezoid(progress: float, warmup: float, decay: float) -> float:
    """What runs before there was a choice were trained with."""
    rising = 1.0 if warmup == 0 else min(1.0, (progress + 1e-3) / warmup)
    falling = 1.0 if decay == 0 else min(1.0, max(0.0, 1.0 - progress) / decay)
    return min(rising, falling)


@given(SHARES, WARMUPS, SHARES)
def test_wsd_is_the_trapezoid_to_the_bit(progress: float, warmup: float, decay: float) -> None:
    assert rate_scale(progress, "wsd", warmup, decay, 0.0) == trapezoid(progress, warmup, decay)


@given(SHARES, SCHEDULES, WARMUPS, SHARES, SHARES)
def test_it_stays_between_zero_and_one(progress: float, schedule: Schedule, warmup, decay, final) -> None:
    assert 0 <= rate_scale(progress, schedule, warmup, decay, final) <= 1


@given(SHARES, SHARES, SCHEDULES, WARMUPS, SHARES, SHARES)
def test_after_the_rise_it_never_rises_again(
    first: float, second: float, schedule: Schedule, warmup, decay, final
) -> None:
    early, late = sorted((max(first, warmup), max(second, warmup)))
    found = [rate_scale(progress, schedule, warmup, decay, final) for progress in (early, late)]
    assert found[0] >= found[1] - 1e-12


@given(SHARES, SHARES, SCHEDULES, WARMUPS, SHARES)
def test_in_the_rise_it_never_falls(first: float, second: float, schedule: Schedule, warmup, final) -> None:
    early, late = sorted((first * warmup, second * warmup))
    found = [rate_scale(progress, schedule, warmup, 0.0, final) for progress in (early, late)]
    assert found[0] <= found[1]


@given(FALLING, WARMUPS, st.floats(0.01, 1), SHARES)
def test_it_ends_at_the_final_share(schedule: Schedule, warmup: float, decay: float, final: float) -> None:
    assert rate_scale(1.0, schedule, warmup, decay, final) == pytest.approx(final, abs=1e-12)
    assert rate_scale(1 - 1e-9, schedule, warmup, decay, final) == pytest.approx(final, abs=1.1e-7)


@given(SHARES, SCHEDULES, st.floats(0.01, 0.99))
def test_the_rise_is_a_line_that_moves_at_once(progress: float, schedule: Schedule, warmup: float) -> None:
    """A run of few steps would waste one at rate zero."""
    inside = progress * warmup
    assert rate_scale(inside, schedule, warmup, 0.0, 0.0) == pytest.approx(min(1, (inside + 1e-3) / warmup), abs=1e-9)
    assert rate_scale(0.0, schedule, warmup, 0.0, 0.0) > 0


@given(SHARES, SHARES)
def test_constant_is_constant(progress: float, final: float) -> None:
    assert rate_scale(progress, "constant", 0.0, 0.5, final) == 1.0


@given(SHARES, WARMUPS, SHARES)
def test_closed_forms(progress: float, warmup: float, final: float) -> None:
    at = max(progress, warmup)
    q = (at - warmup) / (1 - warmup)
    line, wave = final + (1 - final) * (1 - q), final + (1 - final) * 0.5 * (1 + math.cos(math.pi * q))
    assert rate_scale(at, "linear", warmup, 0.5, final) == pytest.approx(line, abs=1e-9)
    assert rate_scale(at, "cosine", warmup, 0.5, final) == pytest.approx(wave, abs=1e-9)


def by_torch(scheduler: Callable[[torch.optim.Optimizer], Any]) -> list[float]:
    """A scheduler's rates at steps 0 … NUM_STEPS, from a rate of 1."""
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    with warnings.catch_warnings():  # SequentialLR calls its parts with an argument torch itself has deprecated
        warnings.simplefilter("ignore")
        schedule, rates = scheduler(optimizer), []
        for _ in range(NUM_STEPS + 1):
            rates.append(optimizer.param_groups[0]["lr"])
            optimizer.step()
            schedule.step()
    return rates


def ours(schedule: Schedule, warmup: float, decay: float = 0.5, final: float = 0.0) -> list[float]:
    return [rate_scale(step / NUM_STEPS, schedule, warmup, decay, final) for step in range(NUM_STEPS + 1)]


def rise(optimizer: torch.optim.Optimizer, warmup: float) -> lr_scheduler.LRScheduler:
    return lr_scheduler.LinearLR(optimizer, 1e-3 / warmup, 1.0, total_iters=round(NUM_STEPS * warmup) - 1)


@pytest.mark.parametrize("final", [0.0, 0.1])
def test_cosine_equals_torch(final: float) -> None:
    theirs = by_torch(lambda optimizer: lr_scheduler.CosineAnnealingLR(optimizer, NUM_STEPS, eta_min=final))
    assert ours("cosine", 0.0, final=final) == pytest.approx(theirs, abs=1e-9)


@pytest.mark.parametrize("final", [0.0, 0.1])
def test_linear_equals_torch(final: float) -> None:
    theirs = by_torch(lambda optimizer: lr_scheduler.LinearLR(optimizer, 1.0, final, total_iters=NUM_STEPS))
    assert ours("linear", 0.0, final=final) == pytest.approx(theirs, abs=1e-9)


@pytest.mark.parametrize(("warmup", "final"), [(0.1, 0.0), (0.05, 0.1), (0.5, 0.01)])
def test_rise_and_cosine_equal_torch(warmup: float, final: float) -> None:
    def scheduler(optimizer: torch.optim.Optimizer) -> lr_scheduler.LRScheduler:
        up = round(NUM_STEPS * warmup)
        down = lr_scheduler.CosineAnnealingLR(optimizer, NUM_STEPS - up, eta_min=final)
        return lr_scheduler.SequentialLR(optimizer, [rise(optimizer, warmup), down], [up])

    assert ours("cosine", warmup, final=final) == pytest.approx(by_torch(scheduler), abs=1e-9)


@pytest.mark.parametrize(("warmup", "decay", "final"), [(0.1, 0.2, 0.0), (0.05, 0.5, 0.1)])
def test_wsd_equals_torch(warmup: float, decay: float, final: float) -> None:
    def scheduler(optimizer: torch.optim.Optimizer) -> lr_scheduler.LRScheduler:
        ends = [round(NUM_STEPS * warmup), round(NUM_STEPS * (1 - decay))]
        stay = lr_scheduler.ConstantLR(optimizer, 1.0, total_iters=1)
        down = lr_scheduler.LinearLR(optimizer, 1.0, final, total_iters=NUM_STEPS - ends[1])
        return lr_scheduler.SequentialLR(optimizer, [rise(optimizer, warmup), stay, down], ends)

    assert ours("wsd", warmup, decay, final) == pytest.approx(by_torch(scheduler), abs=1e-9)


@pytest.mark.parametrize(("schedule", "anneal"), [("cosine", "cos"), ("linear", "linear")])
def test_the_fall_equals_one_cycle(schedule: Schedule, anneal: str) -> None:
    """Its rise ends a step later than ours; from there on it is the same fall."""
    up, final = 200, 0.01
    theirs = by_torch(
        lambda optimizer: lr_scheduler.OneCycleLR(
            optimizer,
            max_lr=1.0,
            total_steps=NUM_STEPS + 2,
            pct_start=(up + 1) / (NUM_STEPS + 2),
            anneal_strategy=anneal,
            div_factor=1.0,
            final_div_factor=1 / final,
            cycle_momentum=False,
        )
    )
    fall = [
        rate_scale(step / (NUM_STEPS + 1), schedule, up / (NUM_STEPS + 1), 0.5, final) for step in range(NUM_STEPS + 1)
    ]
    assert fall[up:] == pytest.approx(theirs[up:], abs=1e-9)
