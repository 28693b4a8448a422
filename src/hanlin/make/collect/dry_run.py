"""What collect would do, tried on some rows of each source. It runs the room itself in a temporary folder, so that
nothing is promised that doesn't happen, and nothing is left behind."""

from __future__ import annotations

import json
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from hanlin.core.run.artifact import Artifact
from hanlin.core.run.errors import HanlinError
from hanlin.core.run.events import Emit, silent
from hanlin.core.text.documents import KEPT, Row, RowWriter, read_rows, write_rows
from hanlin.core.text.script import script_of
from hanlin.make.collect.config import Collect
from hanlin.make.collect.intake import clean_row
from hanlin.make.collect.pipeline.engines import chosen
from hanlin.make.collect.pipeline.stages import Job
from hanlin.make.collect.reading.reader import Reading, reader_of
from hanlin.make.collect.reading.walk import Source, Unit, plan, read_unit
from hanlin.make.collect.run import WORK_FOLDER, run
from hanlin.make.collect.steps.table import prepare_all

NUM_CHANGED = 5

LEAST_ROWS = 20
"""Of each file at least, where there are so many: opening one may take longer than reading it."""


@dataclass
class Sample:
    """What was read of one source. share: of the source, as far as can be told from its files' sizes; seconds: it took,
    opening_seconds of them until the first row."""

    source: Source
    readers: dict[str, int]
    rows: int = 0
    characters: int = 0
    share: float = 0.0
    seconds: float = 0.0
    opening_seconds: float = 0.0
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Change:
    """A row that the steps changed."""

    id: str
    before: str
    after: str


@dataclass(frozen=True)
class Trial:
    """report: of the sample, as report.json has it; {} where the run would stop. seconds: for all, with `workers`."""

    samples: tuple[Sample, ...]
    num_units: int
    engine: str
    workers: int
    report: dict[str, Any]
    changes: tuple[Change, ...]
    num_changed: int
    seconds: float
    rows: int
    characters: int
    warnings: tuple[str, ...]

    @property
    def is_whole(self) -> bool:
        """Whether the sample is all there is."""
        return all(sample.share == 1 for sample in self.samples)


def dry_run(config: Collect, inputs: Mapping[str, Artifact], sample_rows: int, emit: Emit = silent) -> Trial:
    """Try the room on the first rows of the files, `sample_rows` of each source. Raises HanlinError for sources
    in which nothing can be read."""
    names = sorted((name for name in inputs if name.startswith("sources.")), key=lambda name: int(name[8:]))
    sources, units = plan([inputs[name] for name in names])
    warnings: list[str] = []
    with tempfile.TemporaryDirectory(prefix="hanlin-dry-run-") as folder:
        samples, sampled = [], {name: artifact for name, artifact in inputs.items() if name not in names}
        for number, name in enumerate(names):
            own = [unit for unit in units if unit.source == number]
            corpus = Path(folder) / name
            rows = sample_rows if config.limit is None else min(sample_rows, config.limit)
            samples.append(_sample(config, sources[number], own, corpus, rows, warnings))
            emit("progress", done=number + 1, total=len(names), what="reading")
            address = inputs[name].address or str(inputs[name].path)
            sampled[name] = Artifact(corpus, "corpus", "", address=address, licence=inputs[name].licence)
        report, changes, num_changed, seconds = _try(config, sampled, names, Path(folder) / "corpus", emit, warnings)
    input_bytes = sum(path.stat().st_size for unit in units for _, path in unit.files)
    engine, workers = chosen(config.engine, config.workers, input_bytes)
    whole = _whole(config, samples, seconds)
    return Trial(
        tuple(samples),
        len(units),
        engine,
        workers,
        report,
        changes,
        num_changed,
        whole["seconds"] / min(workers, max(1, len(units))),
        round(whole["rows"]),
        round(whole["characters"]),
        tuple(warnings),
    )


# The sample: a small corpus for each source.


def _sample(
    config: Collect, source: Source, units: Sequence[Unit], folder: Path, most: int, warnings: list[str]
) -> Sample:
    """Read the first rows of the source's files into a corpus of their own."""
    folder.mkdir()
    try:
        return _read(config, source, units, folder, most)
    except HanlinError as error:
        warnings.append(f"the run would stop: {error.what} ({error.do})")
        return _read(config.model_copy(update={"bad": "skip"}), source, units, folder, most)


def _read(config: Collect, source: Source, units: Sequence[Unit], folder: Path, most: int) -> Sample:
    reading = Reading(config)
    sample = Sample(source, _readers(units), notes=reading.notes)
    pieces = [piece for unit in units for piece in _files_alone(unit)]
    is_whole, read_bytes, begun = True, 0.0, time.perf_counter()
    with RowWriter(folder / "train.parquet") as writer:
        for number, unit in enumerate(pieces):
            rows_before, text_bytes, left = sample.rows, 0, most - sample.rows
            # Some of every file, so that the first doesn't stand for all. A limit takes the first rows.
            here = left if config.limit else min(left, max(LEAST_ROWS, -(-left // (len(pieces) - number))))
            # As the first source: the room numbers the rows of the others itself.
            rows = read_unit(replace(unit, source=0), source, reading)
            for row in islice(rows, here):
                sample.opening_seconds = sample.opening_seconds or time.perf_counter() - begun
                writer.add(row)
                sample.rows += 1
                sample.characters += row.characters
                text_bytes += len(row.content.encode("utf-8", "surrogatepass"))
            if next(rows, None) is None:
                read_bytes += _bytes(unit)
                continue
            is_whole = False
            read_bytes += _share(unit, sample.rows - rows_before, text_bytes) * _bytes(unit)
            if sample.rows >= most:
                break
    write_rows(folder / "heldout.parquet", [])
    sample.seconds = time.perf_counter() - begun
    sample.share = 1.0 if is_whole else min(0.999, read_bytes / (sum(map(_bytes, pieces)) or 1))
    return sample


def _files_alone(unit: Unit) -> Iterator[Unit]:
    """Each file as a unit, so that it is known which have been read whole."""
    if unit.reader:
        yield unit
    else:
        alone = zip(unit.files, unit.stamps, strict=True)
        yield from (replace(unit, files=(file,), stamps=(stamp,)) for file, stamp in alone)


def _bytes(unit: Unit) -> int:
    if unit.span is not None:
        return unit.span.end - unit.span.start
    return sum(path.stat().st_size for _, path in unit.files)


def _share(unit: Unit, rows: int, text_bytes: int) -> float:
    """How much of a unit so many rows are: exactly for a corpus, else as if the files held their text alone."""
    if unit.reader == "corpus":
        return rows / (sum(pq.read_metadata(path).num_rows for _, path in unit.files) or 1)
    return min(0.99, text_bytes / (_bytes(unit) or 1))


def _readers(units: Sequence[Unit]) -> dict[str, int]:
    """Files by the reader that knows them."""
    readers: Counter[str] = Counter()
    for unit in units:
        for name, _ in unit.files if unit.span is None or unit.span.start == 0 else ():
            module = None if unit.reader else reader_of(name)
            readers[unit.reader or (module.__name__.rpartition(".")[2] if module else "?")] += 1
    return dict(readers.most_common())


# The room itself, on the sample.


def _try(
    config: Collect,
    inputs: dict[str, Artifact],
    names: Sequence[str],
    out: Path,
    emit: Emit,
    warnings: list[str],
) -> tuple[dict[str, Any], tuple[Change, ...], int, float]:
    """(report, some rows that the steps changed, how many they changed, seconds the steps took)"""
    out.mkdir()
    alone = config.model_copy(update={"limit": None, "engine": "one", "workers": None})
    try:
        sources, _ = plan([inputs[name] for name in names])
        job = Job(alone, inputs, tuple(sources), out / WORK_FOLDER)
        # Once, whatever the size: left out of the time that grows with the sources.
        prepare_all(alone, job.context, emit)
        job.steps()
        script_of("漢")
        begun = time.perf_counter()
        run(alone, inputs, out, emit)
        seconds = time.perf_counter() - begun
    except HanlinError as error:
        warnings.append(f"the run would stop: {error.what} ({error.do})")
        return {}, (), 0, 0.0
    changes, number = _changes(inputs, names, out)
    return json.loads((out / "report.json").read_text(encoding="utf-8")), changes, number, seconds


def _changes(inputs: dict[str, Artifact], names: Sequence[str], out: Path) -> tuple[tuple[Change, ...], int]:
    before = {row.id: row for place, name in enumerate(names) for row in _numbered(inputs[name], place)}
    changes: list[Change] = []
    number = 0
    for split in KEPT:
        for row in read_rows(out, split):
            was = before.get(row.id)
            if was is not None and (said := clean_row(was).content) != row.content:
                number += 1
                if len(changes) < NUM_CHANGED:
                    changes.append(Change(row.id, said, row.content))
    return tuple(changes), number


def _numbered(corpus: Artifact, place: int) -> Iterator[Row]:
    for row in read_rows(corpus, "train"):
        yield row if place == 0 else replace(row, id=f"{place}/{row.id}")


def _whole(config: Collect, samples: Sequence[Sample], step_seconds: float) -> dict[str, float]:
    """Rows, characters and seconds of all, in one process: what was measured, as often as it goes into the whole."""
    characters = sum(sample.characters for sample in samples) or 1
    total = {"rows": 0.0, "characters": 0.0, "seconds": 0.0}
    for sample in samples:
        times = 1 / sample.share if sample.share else 1.0
        total["rows"] += sample.rows * times
        total["characters"] += sample.characters * times
        own = sample.seconds - sample.opening_seconds
        total["seconds"] += (own + step_seconds * sample.characters / characters) * times
    if config.limit is not None and total["rows"] > config.limit:
        total = {name: value * config.limit / total["rows"] for name, value in total.items()}
    total["seconds"] += sum(sample.opening_seconds for sample in samples)
    return total
