"""collect: sources → clean rows with source, year, type and split."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import asdict
from pathlib import Path

from hanlin.core.run.artifact import Artifact, write_atomic, write_json
from hanlin.core.run.errors import HanlinError
from hanlin.core.run.events import Emit
from hanlin.core.run.execute import Result
from hanlin.core.text.documents import KEPT, count_rows
from hanlin.make.collect.config import Collect
from hanlin.make.collect.pipeline.engines import engine
from hanlin.make.collect.pipeline.finish import finish
from hanlin.make.collect.pipeline.stages import Count, Job, process, rows_by_reason
from hanlin.make.collect.reading.walk import plan
from hanlin.make.collect.report import as_html, as_markdown, metrics_of, summarise

WORK_FOLDER, FINISHED_FOLDER = "work", "work.finished"


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
    job = Job(config, inputs, tuple(sources), out / WORK_FOLDER)
    input_bytes = sum(path.stat().st_size for unit in units for _, path in unit.files)
    with engine(config.engine, config.workers, input_bytes) as mapping:
        done = process(job, units, mapping, emit)
        for note in [note for source in sources for note in source.notes]:
            emit("note", text=note)
        mixture = finish(job, done, mapping, emit)
        if not sum(count_rows(out, split) for split in KEPT):
            raise _nothing_left(done.counts)
        report = summarise(out, sources, done.counts, mapping, config.seed)
        report["mix"] = [asdict(portion) for portion in mixture]
    emit("funnel", **{name: report[name] for name in ("steps", "splits", "dropped")})
    write_json(out / "report.json", report)
    write_atomic(out / "report.md", as_markdown(report))
    write_atomic(out / "report.html", as_html(report))
    os.replace(job.folder, finished)
    shutil.rmtree(finished)
    return Result(metrics=metrics_of(report))


def _nothing_left(counts: tuple[Count, ...]) -> HanlinError:
    dropped = rows_by_reason(counts)
    why = ", ".join(f"{rows} {reason}" for reason, rows in dropped.most_common()) or "the files are empty"
    return HanlinError(
        f"Nothing is left of {counts[0].rows_in} rows read ({why}).",
        "sources with at least one usable row",
        "check the files; min_chars=…, steps=… and rows=… decide what is dropped",
        "src/hanlin/make/collect/README.md",
    )
