"""What a person hears of: a spike, a stall, a full disk, each once; and when a loss has run away."""

from __future__ import annotations

import statistics
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hanlin.core.train import watch as module
from hanlin.core.train.watch import ENOUGH, LOW_DISK_BYTES, RECENT, SPIKE_MADS, Watch

NOISE = (0.0, 0.1, -0.1, 0.05, -0.05)


class Heard(list[dict[str, Any]]):
    """An Emit that keeps the alerts."""

    def __call__(self, kind: str, **fields: Any) -> None:
        assert kind == "alert"
        self.append(fields)


def watch_of(losses: list[float], seconds: list[float] | None = None) -> tuple[Watch, Heard]:
    heard = Heard()
    watch = Watch(heard, Path("."))
    for step, loss in enumerate(losses, start=1):
        watch.step(step, loss, seconds[step - 1] if seconds else 0.1, f"document-{step}.txt")
    return watch, heard


def steady(steps: int, level: float = 3.0) -> list[float]:
    return [level + NOISE[step % len(NOISE)] for step in range(steps)]


@given(st.lists(st.floats(1, 9), min_size=ENOUGH, max_size=RECENT), st.floats(-1, 30))
def test_a_spike_is_more_than_six_median_deviations_above_the_usual(losses: list[float], last: float) -> None:
    usual = statistics.median(losses)
    spread = max(statistics.median([abs(loss - usual) for loss in losses]), 0.02)
    heard = Heard()
    watch = Watch(heard, Path("."))
    for loss in losses:
        watch.seen(loss)
    watch.step(99, last, 0.1, "a.txt")
    assert len(heard) == (last > usual + SPIKE_MADS * spread)


def test_a_spike_is_told_with_its_step_and_documents() -> None:
    _, heard = watch_of([*steady(30), 6.0])
    assert [(alert["what"], alert["step"]) for alert in heard] == [("spike", 31)]
    assert "loss 6.000" in heard[0]["text"] and "usually 3.000 ± 0.050" in heard[0]["text"]
    assert "document-31.txt" in heard[0]["text"]


def test_a_spike_that_lasts_is_told_once_and_the_next_one_again() -> None:
    _, heard = watch_of([*steady(30), 6.0, 6.1, 6.2, *steady(5), 7.0])
    assert [alert["step"] for alert in heard] == [31, 39]


def test_falling_and_steady_losses_are_no_news() -> None:
    assert watch_of([9 - 0.05 * step for step in range(120)])[1] == []
    assert watch_of([2.0] * 60 + [2.1] * 60)[1] == []  # less than 6 × the smallest deviation that counts


def test_too_few_steps_say_nothing() -> None:
    assert watch_of([*steady(ENOUGH - 1), 99.0])[1] == []
    assert [alert["step"] for alert in watch_of([*steady(ENOUGH), 99.0])[1]] == [ENOUGH + 1]


def test_a_resumed_run_knows_what_was_usual() -> None:
    heard = Heard()
    watch = Watch(heard, Path("."))
    for loss in steady(30):
        watch.seen(loss)
    watch.step(31, 6.0, 0.1, "a.txt")
    assert [alert["step"] for alert in heard] == [31]


@pytest.mark.parametrize(("usual", "last", "is_told"), [(1.0, 11.0, True), (1.0, 9.0, False), (0.1, 4.0, False)])
def test_a_stall_is_ten_times_the_usual_and_some_seconds(usual: float, last: float, is_told: bool) -> None:
    _, heard = watch_of(steady(31), [usual] * 30 + [last])
    assert [alert["what"] for alert in heard] == ["stall"] * is_told
    if is_told:
        assert heard[0]["text"] == "step 31 took 11.0 s, usually 1.00 s"


@pytest.mark.parametrize("free", [LOW_DISK_BYTES - 1, LOW_DISK_BYTES])
def test_a_disk_that_fills_up_is_told_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, free: int) -> None:
    usage = module.shutil.disk_usage(tmp_path)._replace(free=free)
    monkeypatch.setattr(module.shutil, "disk_usage", lambda folder: usage)
    heard = Heard()
    watch = Watch(heard, tmp_path)
    for step in (3, 4):
        watch.disk(step)
    assert [(alert["what"], alert["step"]) for alert in heard] == [("disk", 3)] * (free < LOW_DISK_BYTES)
    assert all("only 2.0 GB are free" in alert["text"] and str(tmp_path) in alert["text"] for alert in heard)


def first_that_runs_away(losses: list[float]) -> int | None:
    heard = Heard()
    watch = Watch(heard, Path("."))
    for step, loss in enumerate(losses, start=1):
        watch.step(step, loss, 0.1, "")
        if watch.runs_away():
            return step
    return None


def test_a_loss_runs_away_when_the_last_steps_are_clearly_worse_than_the_first() -> None:
    """From 6: above 6 × 1.25 + 0.5 for most of the last twenty, and not before fifty steps."""
    assert first_that_runs_away([6.0] * 10 + [8.1] * 100) == RECENT
    assert first_that_runs_away([6.0] * 100 + [8.1] * 100) == 100 + ENOUGH // 2 + 1
    assert first_that_runs_away([6.0] * 100 + [7.9] * 100) is None


def test_a_loss_does_not_run_away_by_single_spikes_or_after_it_fell() -> None:
    assert first_that_runs_away([6.0, 6.0, 6.0, 50.0] * 60) is None
    assert first_that_runs_away([6.0] * 50 + [3.0] * 100 + [5.9] * 100) is None
    assert first_that_runs_away([0.05] * 40 + [0.4] * 100) is None  # near zero a multiple says nothing


def test_a_loss_that_explodes_at_once_has_run_away() -> None:
    """Its first steps are as bad as all others but for the very first, which knows nothing of the rate."""
    assert first_that_runs_away([5.7] + [500.0] * 200) == RECENT
    assert first_that_runs_away([5.7, 32.0, 14.0, 9.0] + [5.2] * 200) is None  # it came back
    assert first_that_runs_away([1.5] + [3.0] * 200) is None  # an easy first batch


@pytest.mark.parametrize(
    ("losses", "is_good"),
    [
        ([], True),
        ([5.7], True),
        ([5.7, 1079.0], False),
        ([*steady(30)], True),
        ([*steady(30), 6.0], False),
        ([*steady(30), 6.0, 3.0], True),
        ([3.0] * 30 + [4.2] * 60, True),  # not as it was, but it stays
        ([3.0] * 30 + [4.3] * 60, False),
    ],
)
def test_weights_are_doubtful_in_a_spike_and_where_all_is_worse_than_at_the_beginning(
    losses: list[float], is_good: bool
) -> None:
    assert watch_of(losses)[0].is_good() == is_good


def test_a_run_that_was_resumed_is_compared_with_its_own_beginning() -> None:
    watch = Watch(Heard(), Path("."))
    for loss in [6.0] * 100 + [9.0] * 50:
        watch.seen(loss)
    assert watch.runs_away()
