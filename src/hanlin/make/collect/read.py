"""Walk the sources and hand each file to the reader that knows it."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from hanlin.core.run.artifact import Artifact
from hanlin.core.run.errors import HanlinError
from hanlin.core.run.events import Emit
from hanlin.core.run.sources import source_files
from hanlin.core.text.documents import Row
from hanlin.make.collect import court, jsonl, plain
from hanlin.make.collect.config import Collect

PROGRESS_SECONDS = 0.2


@dataclass
class Reading:
    """What was read of one source, for the report."""

    address: str
    files: int = 0
    rows: int = 0
    skipped: dict[str, int] = field(default_factory=dict)
    """Files that no reader knows, by their suffix."""


def read_sources(sources: list[Artifact], config: Collect, readings: list[Reading], emit: Emit) -> Iterator[Row]:
    """Rows of all sources in order; `readings` fills as they pass. Raises HanlinError if a source is unreadable."""
    progress = _Progress(emit)
    plans = []
    for source in sources:
        readings.append(Reading(_address(source)))
        plans.append(_plan(source, readings[-1], progress))
    for number, (source, reading, plan) in enumerate(zip(sources, readings, plans)):
        for file_name, row in _rows(plan, config, emit, progress):
            reading.rows += 1
            progress.row()
            row_id = row.id if number == 0 else f"{number}/{row.id}"
            yield replace(row, id=row_id, source=_source_name(source, file_name))
    progress.finish()


@dataclass(frozen=True)
class _Plan:
    """The readable files of one source: the court's, and the others by name."""

    court: Mapping[str, Path]
    files: Mapping[str, Path]


def _address(source: Artifact) -> str:
    """The address as a person writes it: without the pin, which the manifest keeps."""
    return source.address.partition("#sha256=")[0] or str(source.path)


def _plan(source: Artifact, reading: Reading, progress: _Progress) -> _Plan:
    root = source.path if source.path.is_dir() else source.path.parent
    files = {path.relative_to(root).as_posix(): path for path in source_files(source.path)}
    if court.is_court(files):
        known = {name: path for name, path in files.items() if name in court.FILES}
        plan = _Plan(known, {})
    else:
        known = {name: path for name, path in files.items() if path.suffix.lower() in plain.SUFFIXES + jsonl.SUFFIXES}
        plan = _Plan({}, known)
    reading.files = len(known)
    # The court's folder holds other .json files that are left out on purpose: those go by their names.
    unknown = (name if plan.court else Path(name).suffix.lower() or name for name in files if name not in known)
    reading.skipped = dict(Counter(unknown).most_common())
    progress.total += len(known)
    if not known:
        raise _nothing_readable(source.path, reading)
    return plan


def _rows(plan: _Plan, config: Collect, emit: Emit, progress: _Progress) -> Iterator[tuple[str, Row]]:
    if plan.court:
        yield from court.read(plan.court, "chat" if config.rows == "chat" else "text")
        progress.files_done(len(plan.court))
    for name, path in plan.files.items():
        if path.suffix.lower() in jsonl.SUFFIXES:
            rows = jsonl.read(path, name)
        else:
            rows = plain.read(path, name, config.passage_chars, emit)
        for row in rows:
            yield name, row
        progress.files_done(1)


def _source_name(source: Artifact, file_name: str) -> str:
    return f"{_address(source).rstrip('/')}/{file_name}" if source.path.is_dir() else _address(source)


def _nothing_readable(path: Path, reading: Reading) -> HanlinError:
    found = ", ".join(f"{count} × {suffix}" for suffix, count in list(reading.skipped.items())[:8]) or "no files"
    return HanlinError(
        f"{path} holds nothing that can be read ({found}).",
        f"files ending in {', '.join(plain.SUFFIXES + jsonl.SUFFIXES)}",
        "convert the files to one of these, or give another folder",
        "src/hanlin/make/collect/README.md",
    )


class _Progress:
    """Says how far the reading is, a few times a second."""

    def __init__(self, emit: Emit):
        self._emit, self._last = emit, 0.0
        self.total = self._done = self._rows = 0

    def row(self) -> None:
        self._rows += 1
        if self._rows % 100 == 0:
            self._say()

    def files_done(self, count: int) -> None:
        self._done += count
        self._say()

    def finish(self) -> None:
        self._last = 0.0
        self._say()

    def _say(self) -> None:
        now = time.monotonic()
        if now - self._last >= PROGRESS_SECONDS:
            self._last = now
            self._emit("progress", done=self._done, total=self.total, what="collect", rows=self._rows)
