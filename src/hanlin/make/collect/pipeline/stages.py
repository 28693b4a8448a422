"""Rows through the steps, shard by shard, stage by stage.

A stage ends where a step must have seen the whole corpus (a Survey): all shards go through the stage's steps and are
looked at, the survey decides once, and the next stage begins with its verdict. The first stage also reads.

    work/stage-0/  u000000.json  u000000-0000.parquet  u000000-0000.npz (look)  verdict/u000000-0000.npz  …
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from hanlin.core.run.artifact import Artifact, write_json
from hanlin.core.run.events import Emit
from hanlin.core.text.documents import Row
from hanlin.make.collect.config import Collect
from hanlin.make.collect.intake import take_in
from hanlin.make.collect.pipeline.engines import Map
from hanlin.make.collect.pipeline.outlook import outlook
from hanlin.make.collect.pipeline.shards import (
    Looks,
    in_shards,
    read_facts,
    read_findings,
    read_shard,
    write_findings,
    write_shard,
)
from hanlin.make.collect.reading.reader import Reading
from hanlin.make.collect.reading.walk import Source, Unit, read_unit
from hanlin.make.collect.steps.step import Context, RowStep, Survey
from hanlin.make.collect.steps.table import made, prepare_all


@dataclass
class Count:
    """What one step did to the rows: rows and characters in and out, and of those dropped, by reason."""

    step: str
    rows_in: int = 0
    characters_in: int = 0
    rows_out: int = 0
    characters_out: int = 0
    dropped: dict[str, list[int]] = field(default_factory=dict)

    def add(self, other: Mapping[str, Any]) -> None:
        for name in ("rows_in", "characters_in", "rows_out", "characters_out"):
            setattr(self, name, getattr(self, name) + other[name])
        for reason, (rows, characters) in other["dropped"].items():
            entry = self.dropped.setdefault(reason, [0, 0])
            entry[0] += rows
            entry[1] += characters


@dataclass(frozen=True)
class Job:
    """All that a worker must know besides its task. folder: of the work in progress."""

    config: Collect
    inputs: Mapping[str, Artifact]
    sources: tuple[Source, ...]
    folder: Path

    def context(self, step: int) -> Context:
        return Context(self.inputs, self.folder / f"step-{step}", self.config.seed, self.config)

    def steps(self) -> list[RowStep | Survey]:
        return made(self.folder, self.config, self.context)


@dataclass(frozen=True)
class Stage:
    """Steps that a shard passes without waiting for others. begins, ends: the surveys around them, by number."""

    number: int
    begins: int | None
    steps: tuple[int, ...]
    ends: int | None


@dataclass(frozen=True)
class Processed:
    """The shards after the last stage, in order, and what happened on the way."""

    shards: tuple[Path, ...]
    source_of: tuple[int, ...]
    outlooks: tuple[dict[str, Any], ...]
    counts: tuple[Count, ...]


def process(job: Job, units: Sequence[Unit], mapping: Map, emit: Emit) -> Processed:
    """Read the units and pass all rows through all steps. Finished work of an interrupted run is kept."""
    prepare_all(job.config, job.context, emit)
    stages = list(_stages(job.steps()))
    counts = {"read": Count("read")} | {f"{number}": Count(step.step) for number, step in enumerate(job.config.steps)}
    begun = max((s.number for s in stages if (_folder(job, s) / "done.json").exists()), default=0)
    shards: list[tuple[str, int]] = []
    done: dict[str, Any] | None = None
    for stage in stages[begun:]:
        folder = _folder(job, stage)
        folder.mkdir(parents=True, exist_ok=True)
        if (done := read_facts(folder / "done.json")) is None:
            if stage.number == 0:
                facts = _read_all(job, stage, units, mapping, emit)
            else:
                facts = _pass_all(job, stage, shards, mapping, emit)
            earlier = read_facts(_before(job, stage) / "done.json") if stage.number else None
            done = _summary(facts, job.sources, earlier)
            write_json(folder / "done.json", done)
        shards = [(name, source) for name, source in done["shards"]]
        if stage.number:
            shutil.rmtree(_before(job, stage), ignore_errors=True)
        if stage.ends is not None:
            _decide(job, stage, [name for name, _ in shards], emit)
    assert done is not None
    for name, count in done["counts"].items():
        counts[name].add(count)
    for source, seen in zip(job.sources, done["sources"]):
        source.rows, source.notes, source.num_notes = seen["rows"], seen["notes"], seen["num_notes"]
    last = _folder(job, stages[-1])
    return Processed(
        tuple(last / f"{name}.parquet" for name, _ in shards),
        tuple(source for _, source in shards),
        tuple(done["outlooks"]),
        tuple(counts.values()),
    )


def _stages(steps: Sequence[RowStep | Survey]) -> Iterator[Stage]:
    begins: int | None = None
    inside: list[int] = []
    number = 0
    for place, step in enumerate(steps):
        if isinstance(step, Survey):
            yield Stage(number, begins, tuple(inside), place)
            begins, inside, number = place, [], number + 1
        else:
            inside.append(place)
    yield Stage(number, begins, tuple(inside), None)


def _folder(job: Job, stage: Stage) -> Path:
    return job.folder / f"stage-{stage.number}"


def _before(job: Job, stage: Stage) -> Path:
    return job.folder / f"stage-{stage.number - 1}"


# Reading: the first stage.


def _read_all(job: Job, stage: Stage, units: Sequence[Unit], mapping: Map, emit: Emit) -> list[dict[str, Any]]:
    if job.config.limit is not None:
        return list(_read_until(job, stage, units, job.config.limit))
    facts = {}
    files, rows, total = 0, 0, sum(source.files for source in job.sources)
    by_name = {unit.name: unit for unit in units}
    for done in mapping(_read_one, [(job, stage, unit) for unit in units]):
        facts[done["name"]] = done
        unit = by_name[done["name"]]
        files += len(unit.files) if unit.span is None or unit.span.start == 0 else 0
        rows += done["rows"]
        emit("progress", done=files, total=total, what="collect", rows=rows)
    return [facts[name] for name in sorted(facts)]


def _read_until(job: Job, stage: Stage, units: Sequence[Unit], limit: int) -> Iterator[dict[str, Any]]:
    for unit in units:
        if limit <= 0:
            return
        done = _read_one((job, stage, unit), limit)
        limit -= done["rows"]
        yield done


def _read_one(task: tuple[Job, Stage, Unit], limit: int | None = None) -> dict[str, Any]:
    """Read a unit, pass its rows on, and say what was done. Finished already: only say it again."""
    job, stage, unit = task
    folder = _folder(job, stage)
    if (done := read_facts(folder / f"{unit.name}.json")) is not None:
        return done
    reading = Reading(job.config, scratch=job.folder / "scratch")
    rows = islice(read_unit(unit, job.sources[unit.source], reading), limit)
    facts: dict[str, Any] = {"name": unit.name, "source": unit.source, "rows": 0}
    facts |= {"shards": [], "outlooks": [], "counts": {}}
    for number, shard in enumerate(in_shards(take_in(row, job.config.min_chars) for row in rows)):
        name = f"{unit.name}-{number:05d}"
        facts["rows"] += len(shard)
        counts, seen = _pass(job, stage, shard, folder / name, None)
        facts["shards"].append([name, unit.source])
        facts["outlooks"].append(seen)
        facts["counts"] = _added(facts["counts"], counts)
    facts |= {"notes": reading.notes, "num_notes": reading.num_notes}
    write_json(folder / f"{unit.name}.json", facts)
    return facts


# The later stages.


def _pass_all(
    job: Job, stage: Stage, shards: Sequence[tuple[str, int]], mapping: Map, emit: Emit
) -> list[dict[str, Any]]:
    facts = {}
    what = ", ".join(job.config.steps[place].step for place in (stage.begins, *stage.steps) if place is not None)
    for done in mapping(_pass_one, [(job, stage, name, source) for name, source in shards]):
        facts[done["name"]] = done
        emit("progress", done=len(facts), total=len(shards), what=what)
    return [facts[name] for name, _ in shards]


def _pass_one(task: tuple[Job, Stage, str, int]) -> dict[str, Any]:
    job, stage, name, source = task
    folder, before = _folder(job, stage), _before(job, stage)
    if (done := read_facts(folder / f"{name}.json")) is not None:
        return done
    rows = read_shard(before / f"{name}.parquet")
    counts, seen = _pass(job, stage, rows, folder / name, before / "verdict" / f"{name}.npz")
    facts = {"name": name, "shards": [[name, source]], "outlooks": [seen], "counts": counts}
    write_json(folder / f"{name}.json", facts)
    return facts


def _decide(job: Job, stage: Stage, shards: Sequence[str], emit: Emit) -> None:
    assert stage.ends is not None
    survey = job.steps()[stage.ends]
    assert isinstance(survey, Survey)
    folder = _folder(job, stage)
    verdicts = folder / "verdict"
    if (verdicts / "done").exists():
        return
    verdicts.mkdir(exist_ok=True)
    emit("progress", done=0, total=1, what=job.config.steps[stage.ends].step)
    looks = Looks([folder / f"{name}.npz" for name in shards])
    for name, verdict in zip(shards, survey.decide(looks), strict=True):
        write_findings(verdicts / f"{name}.npz", verdict)
    (verdicts / "done").touch()


# One shard through one stage.


def _pass(
    job: Job, stage: Stage, rows: list[Row], target: Path, verdict: Path | None
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Write the shard as it leaves the stage, and what the next survey sees in it. Returns counts by step, and after
    the last stage the outlook."""
    steps = job.steps()
    counts: dict[str, Any] = {}
    kept = [row for row in rows if not row.reason]
    dropped = [row for row in rows if row.reason]
    if stage.number == 0:
        counts["read"] = _count("read", rows, kept, dropped)
    for place in (stage.begins, *stage.steps):
        if place is None:
            continue
        step = steps[place]
        if isinstance(step, Survey):
            assert verdict is not None
            out = list(step.apply(kept, read_findings(verdict)))
        else:
            out = list(step(kept))
        name = job.config.steps[place].step
        assert len(out) >= len(kept), f"{name} lost rows without a reason"
        now = [row for row in out if row.reason]
        before, kept = kept, [row for row in out if not row.reason]
        counts[str(place)] = _count(name, before, kept, now)
        dropped += now
    if stage.ends is not None:
        survey = steps[stage.ends]
        assert isinstance(survey, Survey)
        write_findings(target.with_name(target.name + ".npz"), survey.look(kept))
    write_shard(target.with_name(target.name + ".parquet"), kept + dropped)
    return counts, outlook(kept, job.config, job.inputs) if stage.ends is None else {}


def _count(step: str, before: Sequence[Row], kept: Sequence[Row], dropped: Sequence[Row]) -> dict[str, Any]:
    reasons: dict[str, list[int]] = {}
    for row in dropped:
        entry = reasons.setdefault(row.reason.partition(":")[0], [0, 0])
        entry[0] += 1
        entry[1] += row.characters
    return asdict(Count(step, len(before), _characters(before), len(kept), _characters(kept), reasons))


def _characters(rows: Sequence[Row]) -> int:
    return sum(row.characters for row in rows)


def _added(counts: dict[str, Any], more: dict[str, Any]) -> dict[str, Any]:
    for name, count in more.items():
        total = Count(**counts[name]) if name in counts else Count(count["step"])
        total.add(count)
        counts[name] = asdict(total)
    return counts


def _summary(
    facts: Sequence[dict[str, Any]], sources: Sequence[Source], earlier: dict[str, Any] | None
) -> dict[str, Any]:
    """A stage's whole result: its shards in order, counts of all stages so far, what was read of each source."""
    counts: dict[str, Any] = dict(earlier["counts"]) if earlier else {}
    seen = earlier["sources"] if earlier else [{"rows": 0, "notes": [], "num_notes": 0} for _ in sources]
    for done in facts:
        counts = _added(counts, done["counts"])
        if earlier is None:
            entry = seen[done["source"]]
            entry["rows"] += done["rows"]
            entry["notes"] += done["notes"]
            entry["num_notes"] += done["num_notes"]
    lists = {name: [item for done in facts for item in done[name]] for name in ("shards", "outlooks")}
    return {**lists, "counts": counts, "sources": seen}
