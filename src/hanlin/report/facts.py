"""What a run folder holds, read once: the finished steps with their manifests, reports and logs."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from hanlin.core.run.artifact import Manifest, is_artifact, read_manifest
from hanlin.core.run.errors import HanlinError
from hanlin.core.run.events import EVENTS_FILE, Event, read_events
from hanlin.report.history import History, read_history
from hanlin.report.record import sessions
from hanlin.rooms import ROOMS


@dataclass(frozen=True)
class Step:
    """One finished step. `report` is its report.json (evaluate, collect, tokenize), {} where there is none."""

    name: str
    path: Path
    manifest: Manifest
    events: tuple[Event, ...] = ()
    report: dict[str, Any] = field(default_factory=dict)

    @property
    def room(self) -> str:
        return self.manifest.room

    @property
    def metrics(self) -> dict[str, Any]:
        return self.manifest.metrics

    @property
    def is_chat_corpus(self) -> bool:
        return self.room == "collect" and self.metrics.get("kind") == "chat"

    def of(self, kind: str) -> Iterator[Event]:
        return (event for event in self.events if event.get("event") == kind)

    @cached_property
    def history(self) -> History:
        return read_history(self.events)

    @property
    def seconds(self) -> float:
        """Time at work, over all sessions of an interrupted run."""
        return sum(last - first for first, last in sessions(self.events))


@dataclass(frozen=True)
class Run:
    """A recipe's folder: finished steps in life-cycle order, and the names of unfinished ones."""

    folder: Path
    steps: tuple[Step, ...]
    unfinished: tuple[str, ...] = ()

    def all(self, room: str) -> list[Step]:
        return [step for step in self.steps if step.room == room]

    def last(self, room: str) -> Step | None:
        return next(reversed(self.all(room)), None)

    @property
    def text_corpus(self) -> Step | None:
        return next((step for step in self.all("collect") if not step.is_chat_corpus), None)

    @property
    def chat_corpus(self) -> Step | None:
        return next((step for step in self.all("collect") if step.is_chat_corpus), None)

    @property
    def seconds(self) -> float:
        return sum(step.seconds for step in self.steps)


def read_run(folder: Path) -> Run:
    """Raises HanlinError when the folder holds no finished step."""
    places = sorted(p for p in folder.iterdir() if is_artifact(p)) if folder.is_dir() else []
    finished = [p for p in places if not p.name.startswith(".") and not p.name.endswith(".partial")]
    if not finished:
        raise HanlinError(
            f"{folder} holds no finished step to report on.",
            "the folder of a recipe that was run",
            "hanlin run recipes/demo.yaml",
            "docs/recipes.md",
        )
    steps = sorted(map(_read_step, finished), key=_life_cycle_place)
    unfinished = sorted(p.name.removesuffix(".partial") for p in folder.glob("*.partial") if p.is_dir())
    return Run(folder, tuple(steps), tuple(unfinished))


def _read_step(path: Path) -> Step:
    report = path / "report.json"
    return Step(
        name=path.name,
        path=path,
        manifest=read_manifest(path),
        events=tuple(read_events(path / EVENTS_FILE)),
        report=json.loads(report.read_text(encoding="utf-8")) if report.exists() else {},
    )


def _life_cycle_place(step: Step) -> tuple[int, bool, float]:
    rooms = list(ROOMS)
    place = rooms.index(step.room) if step.room in rooms else len(rooms)
    started = min((event["time"] for event in step.events), default=0.0)
    return place, step.is_chat_corpus, started


def read_replies(run: Run, count: int) -> list[tuple[str, list[tuple[str, str]]]]:
    """[(question, [(model, reply), …]), …] of the first questions that every model of the ledger answered."""
    ledger = run.last("evaluate")
    columns = ledger.report.get("columns", []) if ledger else []
    if not columns:
        return []
    answers = {c["name"]: {s["prompt"]: s["text"] for s in c["samples"]} for c in columns}
    prompts = [s["prompt"] for s in columns[-1]["samples"] if all(s["prompt"] in own for own in answers.values())]
    return [(prompt, [(name, own[prompt]) for name, own in answers.items()]) for prompt in prompts[:count]]
