"""A training step rehearsed: on the longest batch, killed after the second step, resumed, finished after the third."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hanlin.core.run.errors import HanlinError
from hanlin.core.run.events import EVENTS_FILE, read_events
from hanlin.core.run.machine import memory_bytes
from hanlin.core.run.recipe import Step
from hanlin.rehearsal import work
from hanlin.rehearsal.apart import Ended
from hanlin.rehearsal.estimate import (
    Estimate,
    Scale,
    disk_bytes,
    epochs,
    read_pace,
    sizes,
    tokens_and_seconds,
    tokens_per_step,
)
from hanlin.rehearsal.plan import KILL_AFTER, real_options
from hanlin.rehearsal.stages import Stages, notes_of
from hanlin.rehearsal.work import Made

TIGHT = 0.9
"""Of the machine's memory: above it, anything else that runs decides whether the training lives."""


@dataclass(frozen=True)
class Training:
    """values: the step's, made small. out: where it is rehearsed. made: the artifacts it calls by name. scale: of its
    data."""

    stages: Stages
    step: Step
    values: dict[str, Any]
    out: Path
    made: Mapping[str, str]
    scale: Scale

    def rehearse(self) -> tuple[Made, Estimate] | None:
        """None where it can't be trained, or not be resumed."""
        first = self._until_killed()
        if first is None:
            return None
        unfinished = sizes(self._partial)
        second = self._run("resume", None)
        if problem := second.error or self._not_resumed(is_exact=not second.gpu_bytes):
            self.stages.fail(self.step.name, "resume", problem, second.seconds)
            return None
        weights = sum(size for name, size in sizes(self.out).items() if name.endswith(".safetensors"))
        found = f"killed after step {KILL_AFTER} and taken up again, the same bits; saved, {weights / 1e6:,.1f} MB"
        self.stages.view.passed(self.step.name, "resume", second.seconds, found)
        estimate = self._estimate((first, second), unfinished, weights, second.value.metrics)
        self.refuse_too_little(estimate)
        return second.value, estimate

    @property
    def _partial(self) -> Path:
        return self.out.with_name(self.out.name + ".partial")

    def _run(self, stage: str, kill_after: int | None) -> Ended:
        arguments = (self.step.room.name, self.values, str(self.out), dict(self.made), kill_after)
        return self.stages.end(self.step.name, stage, work.make_step, *arguments)

    def _until_killed(self) -> Ended | None:
        ended = self._run("train", KILL_AFTER)
        steps = [event["step"] for event in read_events(self._partial / EVENTS_FILE, "step")]
        if not ended.killed or steps != [*range(1, KILL_AFTER + 1)]:
            self.stages.fail(self.step.name, "train", ended.error or "It ended before its second step.", ended.seconds)
            return None
        pace = read_pace(self._partial)
        found = f"longest batch, {pace.tokens_per_step:,.0f} trained tokens: {pace.tokens_per_second:,.0f} a second"
        self.stages.view.passed(self.step.name, "train", ended.seconds, f"{found}, {ended.peak_bytes / 1e9:.2f} GB")
        self.stages.notes(notes_of(self._partial))
        return ended

    def _not_resumed(self, is_exact: bool) -> str:
        """Why the second run did not go on where the first was killed; "" where it did. Other devices than a CPU add
        in an order of their own."""
        if not any(read_events(self.out / EVENTS_FILE, "resumed")):
            return str(_not_exact("it began anew"))
        again = [e for e in read_events(self.out / EVENTS_FILE, "step") if e["step"] == KILL_AFTER]
        before, after = ((event["loss"], event["norm"]) for event in again)
        if is_exact and before != after:
            return str(_not_exact(f"step {KILL_AFTER}: loss {before[0]!r} before, {after[0]!r} after"))
        return ""

    def _estimate(
        self, ended: tuple[Ended, Ended], unfinished: Mapping[str, int], weights: int, metrics: Mapping[str, Any]
    ) -> Estimate:
        options, pace = real_options(self.step), read_pace(self.out)
        per_step = tokens_per_step(pace, metrics, options, self.scale)
        tokens, seconds = tokens_and_seconds(pace, options.train, per_step)
        return Estimate(
            name=self.step.name,
            seconds=seconds,
            compile_seconds=None if self.values["train"].get("compile") == "off" else pace.ready_seconds,
            tokens=tokens,
            epochs=epochs(tokens, per_step, metrics, self.out, options, self.scale),
            peak_bytes=max(end.peak_bytes for end in ended),
            gpu_bytes=max(end.gpu_bytes for end in ended),
            disk_bytes=disk_bytes(unfinished, weights, options.train, self.scale.characters),
            peak_share=pace.peak_share,
        )

    def refuse_too_little(self, estimate: Estimate) -> None:
        """A failure where the machine's memory would be all but full."""
        machine = memory_bytes()
        if machine and estimate.peak_bytes > TIGHT * machine:
            self.stages.fail(self.step.name, "memory", str(_tight(estimate.peak_bytes, machine)))


def refuse_full_disk(stages: Stages, needed: float, place: Path) -> None:
    """place: where the real run writes, or will."""
    existing = next(folder for folder in (place, *place.absolute().parents) if folder.exists())
    free = shutil.disk_usage(existing).free
    if needed > free:
        error = HanlinError(
            f"The training steps need {needed / 1e9:.1f} GB at their fullest; {free / 1e9:.1f} GB are free at {place}.",
            "room for their checkpoints and models",
            "free some space, choose another disk with out=…, or keep fewer checkpoints (train.keep_last)",
            "docs/rehearse.md#disk",
        )
        stages.fail("in all", "disk", str(error))


def _tight(peak: int, machine: int) -> HanlinError:
    return HanlinError(
        f"It held {peak / 1e9:.1f} GB of the {machine / 1e9:.1f} GB that are here.",
        f"at most {TIGHT:.0%}, so that nothing else that runs ends it",
        "train.micro_rows=1, train.recompute=true, a shorter context or a smaller model",
        "docs/rehearse.md#memory",
    )


def _not_exact(what: str) -> HanlinError:
    return HanlinError(
        f"Resume is not exact here: {what}.",
        "the same bits as before the kill",
        "train.compile=off train.device=cpu is exact",
        "docs/training.md#the-certificate",
    )
