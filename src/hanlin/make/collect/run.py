"""collect: sources → clean rows with source, year, type and split."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from contextlib import ExitStack
from itertools import islice
from pathlib import Path

from hanlin.core.run.artifact import Artifact, write_atomic, write_json
from hanlin.core.run.errors import HanlinError
from hanlin.core.run.events import Emit
from hanlin.core.run.execute import Result
from hanlin.core.text.documents import KEPT, SPLITS, Row, RowWriter, Split, count_rows, read_rows
from hanlin.make.collect.clean import judge
from hanlin.make.collect.config import Collect
from hanlin.make.collect.heldout import Assignment, assign, cut_single_group, split_before_end
from hanlin.make.collect.read import Reading, read_sources
from hanlin.make.collect.report import as_markdown, metrics_of, reason_name, summarise


def run(config: Collect, inputs: dict[str, Artifact], out: Path, emit: Emit) -> Result:
    """Read the inputs `sources.0`, `sources.1`, … into `out`. Raises HanlinError for unreadable or empty sources.

    Reading is short, so an interrupted run reads again from the start.
    """
    for leftover in out.glob("*.tmp"):
        leftover.unlink()
    sources = [inputs[name] for name in sorted(inputs, key=_number)]
    readings: list[Reading] = []
    by_group = config.heldout == "groups"
    assignment = Assignment(config.seed, config.heldout_share if by_group else 0.0)
    rows = judge(islice(read_sources(sources, config, readings, emit), config.limit), config)
    _write(out, ((row, assignment.split_of(row)) for row in rows), SPLITS)
    if not sum(count_rows(out, split) for split in KEPT):
        raise _nothing_left(out)
    if by_group:
        _fill_both_splits(out, assignment, emit)
    else:
        _write(out, split_before_end(list(read_rows(out, "train")), config.heldout_share), KEPT)
    report = summarise(out, readings)
    write_json(out / "report.json", report)
    write_atomic(out / "report.md", as_markdown(report))
    return Result(metrics=metrics_of(report))


def _number(name: str) -> int:
    return int(name.rpartition(".")[2])


def _write(out: Path, placed: Iterable[tuple[Row, Split]], splits: tuple[Split, ...]) -> None:
    with ExitStack() as stack:
        writers = {split: stack.enter_context(RowWriter(out / f"{split}.parquet")) for split in splits}
        for row, split in placed:
            writers[split].add(row)


def _fill_both_splits(out: Path, assignment: Assignment, emit: Emit) -> None:
    """A small corpus can fall on one side by chance: then the nearest group moves, or the only document is cut."""
    if assignment.share == 0:
        return
    kept = (row for split in KEPT for row in read_rows(out, split))
    if assignment.single_group:
        pieces = list(cut_single_group(list(kept)))
        placed = assign(pieces, Assignment(assignment.seed, assignment.share))
        _write(out, placed, KEPT)
        held = sum(split == "heldout" for _, split in placed)
        done = f"cut into {len(pieces)} passages, {held} of them held out" if held else "too short to hold anything out"
        emit("note", text=f"The sources hold one document only: {done}.")
    elif moved := assignment.settle():
        _write(out, [(row, moved.get(row.group, split)) for split in KEPT for row in read_rows(out, split)], KEPT)


def _nothing_left(out: Path) -> HanlinError:
    dropped = Counter(map(reason_name, read_rows(out, "rejected")))
    why = ", ".join(f"{count} {reason}" for reason, count in dropped.most_common()) or "the files are empty"
    return HanlinError(
        f"Nothing is left of {sum(dropped.values())} rows read ({why}).",
        "sources with at least one usable row",
        "check the files; min_chars=… and rows=… decide what is dropped",
        "src/hanlin/make/collect/README.md",
    )
