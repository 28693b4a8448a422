"""collect: sources → clean rows with source, year, type and split."""

from __future__ import annotations

import json
import os
import shutil
from collections import Counter
from dataclasses import asdict
from pathlib import Path

from hanlin.core.run.artifact import Artifact, write_atomic, write_json
from hanlin.core.run.errors import HanlinError
from hanlin.core.run.events import Emit
from hanlin.core.run.execute import Result
from hanlin.core.text.documents import KEPT, count_rows, read_rows
from hanlin.make.collect.config import Collect
from hanlin.make.collect.mix import check_amounts, nothing_to_sort_by
from hanlin.make.collect.pipeline.engines import engine
from hanlin.make.collect.pipeline.finish import finish
from hanlin.make.collect.pipeline.stages import Job, process
from hanlin.make.collect.reading.walk import Source, plan
from hanlin.make.collect.report import as_html, as_markdown, metrics_of, summarise
from hanlin.make.collect.report.tally import reason_name

WORK_FOLDER, FINISHED_FOLDER = "work", "work.finished"
MOST_SKIPPED = 5


def run(config: Collect, inputs: dict[str, Artifact], out: Path, emit: Emit) -> Result:
    """Read the inputs `sources.0`, `sources.1`, … into `out`. Raises HanlinError for unreadable or empty sources.

    An interrupted run goes on with the shards it has finished.
    """
    for leftover in out.rglob("*.tmp"):
        leftover.unlink()
    finished = out / FINISHED_FOLDER
    if finished.exists():  # ended while clearing away
        shutil.rmtree(finished)
        return Result(metrics=metrics_of(json.loads((out / "report.json").read_text(encoding="utf-8"))))
    names = sorted((name for name in inputs if name.startswith("sources.")), key=lambda name: int(name[8:]))
    sources, units = plan([inputs[name] for name in names])
    _check_mix(config, sources, inputs)
    for source in sources:
        if source.skipped:
            emit("note", text=f"{source.address}: not read: {_most(source.skipped)}")
    job = Job(config, inputs, tuple(sources), out / WORK_FOLDER)
    input_bytes = sum(path.stat().st_size for unit in units for _, path in unit.files)
    with engine(config.engine, config.workers, input_bytes) as mapping:
        done = process(job, units, mapping, emit)
        for note in [note for source in sources for note in source.notes]:
            emit("note", text=note)
        mixture = finish(job, done, mapping, emit)
        if not sum(count_rows(out, split) for split in KEPT):
            raise _nothing_left(done.counts[0].rows_in, out)
        report = summarise(out, sources, done.counts, mapping, config.seed)
        report["mix"] = [asdict(portion) for portion in mixture]
    emit("funnel", **{name: report[name] for name in ("steps", "splits", "dropped")})
    write_json(out / "report.json", report)
    write_atomic(out / "report.md", as_markdown(report))
    write_atomic(out / "report.html", as_html(report))
    os.replace(job.folder, finished)
    shutil.rmtree(finished)
    return Result(metrics=metrics_of(report))


def _check_mix(config: Collect, sources: list[Source], inputs: dict[str, Artifact]) -> None:
    """Raises HanlinError for a mixture that can't be made: before hours of reading."""
    check_amounts([source.address for source in sources], config.mix)
    # A corpus may have been measured when it was made.
    measured = any(step.step == "perplexity" for step in config.steps) or any(
        artifact.kind == "corpus" for name, artifact in inputs.items() if name.startswith("sources.")
    )
    if config.mix.order == "easy_first" and not measured:
        raise nothing_to_sort_by("what is read")


def _most(skipped: dict[str, int]) -> str:
    shown = ", ".join(f"{files:,} × {name}" for name, files in list(skipped.items())[:MOST_SKIPPED])
    return shown + (f" and {len(skipped) - MOST_SKIPPED:,} kinds more" if len(skipped) > MOST_SKIPPED else "")


def _nothing_left(rows_read: int, out: Path) -> HanlinError:
    dropped = Counter(reason_name(row) for row in read_rows(out, "rejected"))
    why = ", ".join(f"{rows:,} {reason}" for reason, rows in dropped.most_common()) or "the files are empty"
    return HanlinError(
        f"Nothing is left of {rows_read:,} rows read ({why}).",
        "sources with at least one usable row",
        "check the files; min_chars=…, steps=… and rows=… decide what is dropped",
        "src/hanlin/make/collect/README.md",
    )
