"""A training run's log, read once: each step once whatever was killed and resumed, held-out points, alerts, samples."""

from __future__ import annotations

import bisect
import math
import statistics
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from hanlin.core.run.events import Event
from hanlin.report.plotting import Curve, Point

By = Literal["steps", "tokens", "minutes"]
"""What a curve runs along: optimizer steps, trained tokens, or minutes of training alone."""

Measure = Literal["bpc", "loss"]
"""Bits per character, or nats per token."""

START: Event = {"step": 0, "tokens": 0, "seconds": 0.0}
HELD_OUT = ("heldout", "heldout_replies")


@dataclass(frozen=True)
class HeldOut:
    """Measured on text the model never trains on, at a share of the run (0 to 1). `place`: the step before it."""

    at: float
    place: Event
    bpc: float | None = None
    loss: float | None = None

    @property
    def seconds(self) -> float:
        return self.place["seconds"]


@dataclass(frozen=True)
class Alert:
    """What a person had to hear of at once. `place`: the step it belongs to, or the last one before."""

    what: str
    text: str
    step: int
    place: Event


@dataclass(frozen=True)
class History:
    """steps: the log's own events in order. The other lists are in order of the run too."""

    steps: tuple[Event, ...] = ()
    heldout: tuple[HeldOut, ...] = ()
    alerts: tuple[Alert, ...] = ()
    num_resumed: int = 0

    @property
    def measure(self) -> Measure:
        """Bits per character where both the steps and the held-out points tell them."""
        known = [any(e.get("bpc") is not None for e in self.steps)] if self.steps else []
        known += [any(p.bpc is not None for p in self.heldout)] if self.heldout else []
        return "bpc" if known and all(known) else "loss"

    @property
    def at_first(self) -> HeldOut | None:
        """Before the first step."""
        return self.heldout[0] if self.heldout and self.heldout[0].at == 0 else None

    @property
    def at_last(self) -> HeldOut | None:
        return self.heldout[-1] if len(self.heldout) > 1 else None

    def training(self, measure: Measure, by: By) -> list[Point]:
        return [(along(e, by), e[measure]) for e in self.steps if e.get(measure) is not None]

    def measured(self, measure: Measure, by: By) -> list[Point]:
        """The held-out points."""
        values = [(along(point.place, by), getattr(point, measure)) for point in self.heldout]
        return [(x, value) for x, value in values if value is not None]

    def curve(self, name: str, measure: Measure, by: By) -> Curve:
        marks = tuple((along(alert.place, by), alert.what) for alert in self.alerts)
        return Curve(name, tuple(self.training(measure, by)), tuple(self.measured(measure, by)), marks)

    def rates(self, by: By) -> list[Point]:
        """The learning rate's schedule, as a share of the highest rate."""
        return [(along(e, by), e["rate"]) for e in self.steps if e.get("rate") is not None]

    def median(self, name: str) -> float | None:
        """Of a figure of the steps, such as tokens_per_second or peak_share."""
        values = [e[name] for e in self.steps if e.get(name) is not None and math.isfinite(e[name])]
        return statistics.median(values) if values else None


def along(place: Mapping[str, Any], by: By) -> float:
    return float(place["seconds"]) / 60 if by == "minutes" else float(place["step" if by == "steps" else "tokens"])


def read_history(events: Iterable[Event]) -> History:
    """A resumed run repeats steps: the last event of each step number, milestone and alert counts."""
    steps: dict[int, Event] = {}
    milestones: dict[float, int] = {}
    heldout: dict[float, tuple[Event, Event]] = {}
    alerts: dict[tuple[str, int], Event] = {}
    here, num_resumed = START, 0
    for event in events:
        kind = event.get("event")
        if kind == "step":
            here = steps[event["step"]] = event
        elif kind == "resumed":
            here, num_resumed = steps.get(event["step"], START), num_resumed + 1
        elif kind == "milestone":
            milestones[event["at"]] = event["step"]
        elif kind in HELD_OUT:
            heldout[event.get("at", 0.0)] = (event, here)
        elif kind == "alert":
            step = event.get("step") or here["step"]
            alerts[event.get("what", ""), step] = event
    numbers = sorted(steps)

    def place(step: int) -> Event:
        """The step, or the last one before it that the log holds."""
        before = bisect.bisect_right(numbers, step)
        return steps[numbers[before - 1]] if before else START

    return History(
        tuple(steps[number] for number in numbers),
        tuple(
            HeldOut(at, place(milestones[at] if at in milestones else before["step"]), e.get("bpc"), e.get("loss"))
            for at, (e, before) in sorted(heldout.items())
        ),
        tuple(
            Alert(what, str(event.get("text", what)), step, place(step))
            for (what, step), event in sorted(alerts.items(), key=lambda entry: entry[0][1])
        ),
        num_resumed,
    )


def read_samples(events: Iterable[Event]) -> dict[str, dict[float, str]]:
    """{prompt: {share of the run: text}}, in the order of the log; of repeated ones the last counts."""
    samples: dict[str, dict[float, str]] = {}
    for event in events:
        if event.get("event") == "sample":
            samples.setdefault(event["prompt"], {})[event["at"]] = event["text"]
    return samples
