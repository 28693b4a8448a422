"""From the last shards to the corpus: rows of one kind, split into train and heldout, in Parquet files for everyone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Any

from hanlin.core.run.errors import HanlinError
from hanlin.core.run.events import Emit
from hanlin.core.text.documents import SPLITS, Row, RowWriter, Split
from hanlin.core.text.script import script_of
from hanlin.make.collect.config import Collect
from hanlin.make.collect.heldout import Assignment, assign, cut_single_group, place, split_before_end
from hanlin.make.collect.pipeline.engines import Map
from hanlin.make.collect.pipeline.shards import read_shard


@dataclass(frozen=True)
class Placing:
    """How one shard's rows find their files."""

    config: Collect
    kind: str
    moved: dict[str, Split]
    out: Path
    number: int | None
    """In the files' names; None where the shard is the only one."""


def finish(config: Collect, shards: Sequence[Path], out: Path, mapping: Map, emit: Emit) -> None:
    """Write train, heldout and rejected into `out`. Raises HanlinError where nothing is left, or where rows of two
    kinds are and none was asked for."""
    seen = _seen(config, sorted(mapping(_survey, [(config, shard) for shard in shards]), key=lambda s: str(s["shard"])))
    kind = _kind(config, seen)
    share = config.heldout_share if config.heldout == "groups" else 0.0
    assignment = Assignment(config.seed, share)
    assignment.note(seen["ends"].get(kind, []))
    if not shards:
        _write(out, None, [])
    elif config.heldout == "end":
        kept = (row for row in _all_rows(shards, config, kind) if not row.reason)
        placed = split_before_end(kept, seen["characters"][kind], config.heldout_share)
        _write(out, None, chain(placed, _rejected(_all_rows(shards, config, kind))))
    elif share and assignment.single_group:
        _write(out, None, _cut(list(_all_rows(shards, config, kind)), assignment, emit))
    else:
        moved = assignment.settle()
        for old in (path for split in SPLITS for path in out.glob(f"{split}*.parquet")):
            old.unlink()
        numbers = [None] if len(shards) == 1 else list(range(len(shards)))
        tasks = [(Placing(config, kind, moved, out, number), shard) for number, shard in zip(numbers, shards)]
        for done, _ in enumerate(mapping(_place, tasks), start=1):
            emit("progress", done=done, total=len(tasks), what="writing")


def _survey(task: tuple[Collect, Path]) -> dict[str, Any]:
    """What has to be known of a shard: per kind its first kept row, characters, and the outermost groups."""
    config, shard = task
    first: dict[str, str] = {}
    characters: Counter[str] = Counter()
    ends: dict[str, Assignment] = {}
    for row in read_shard(shard):
        if not row.reason:
            first.setdefault(row.kind, row.id)
            characters[row.kind] += row.characters
            ends.setdefault(row.kind, Assignment(config.seed, 0)).note([(place(row.group, config.seed), row.group)])
    return {"shard": shard, "first": first, "characters": characters, "ends": {k: a.ends for k, a in ends.items()}}


def _seen(config: Collect, surveys: Iterable[dict[str, Any]]) -> dict[str, Any]:
    total: dict[str, Any] = {"first": {}, "characters": Counter(), "ends": {}}
    for seen in surveys:
        total["first"] = seen["first"] | total["first"]
        total["characters"].update(seen["characters"])
        for kind, ends in seen["ends"].items():
            total["ends"].setdefault(kind, []).extend(ends)
    return total


def _kind(config: Collect, seen: dict[str, Any]) -> str:
    first = seen["first"]
    if config.rows == "auto" and len(first) > 1:
        raise _mixed_kinds(first)
    kind = next(iter(first), "") if config.rows == "auto" else config.rows
    return kind if kind in first else ""


def _all_rows(shards: Sequence[Path], config: Collect, kind: str) -> Iterator[Row]:
    for shard in shards:
        for row in read_shard(shard):
            yield _finished(row, config, kind)


def _finished(row: Row, config: Collect, kind: str) -> Row:
    if not row.reason and row.kind != kind:
        row = replace(row, reason=f"other kind: {row.kind}, rows={config.rows} was asked for")
    return replace(row, script=script_of(row.content))


def _place(task: tuple[Placing, Path]) -> None:
    placing, shard = task
    assignment = Assignment(placing.config.seed, placing.config.heldout_share)

    def split_of(row: Row) -> Split:
        split = assignment.split_of(row)
        return split if split == "rejected" else placing.moved.get(row.group, split)

    rows = (_finished(row, placing.config, placing.kind) for row in read_shard(shard))
    _write(placing.out, placing.number, ((row, split_of(row)) for row in rows))


def _cut(rows: Sequence[Row], assignment: Assignment, emit: Emit) -> list[tuple[Row, Split]]:
    """A corpus of one group only: its documents are cut, so that a part can be held out."""
    pieces = list(cut_single_group([row for row in rows if not row.reason]))
    placed = assign(pieces, Assignment(assignment.seed, assignment.share))
    held = sum(split == "heldout" for _, split in placed)
    done = f"cut into {len(pieces)} passages, {held} of them held out" if held else "too short to hold anything out"
    emit("note", text=f"The sources hold one document only: {done}.")
    return [*placed, *_rejected(rows)]


def _rejected(rows: Iterable[Row]) -> Iterator[tuple[Row, Split]]:
    for row in rows:
        if row.reason:
            yield row, "rejected"


def _write(out: Path, number: int | None, placed: Iterable[tuple[Row, Split]]) -> None:
    """The first shard writes all three files, the others those that have rows."""
    name = "" if number is None else f"-{number:05d}"
    with ExitStack() as stack:
        writers: dict[Split, RowWriter] = {}

        def writer(split: Split) -> RowWriter:
            if split not in writers:
                writers[split] = stack.enter_context(RowWriter(out / f"{split}{name}.parquet"))
            return writers[split]

        for split in SPLITS if not number else ():
            writer(split)
        for row, split in placed:
            writer(split).add(row)


def _mixed_kinds(first: dict[str, str]) -> HanlinError:
    names = {"text": "a document", "chat": "a conversation", "preference": "a preference"}
    found = ", ".join(f"{row_id} is {names[kind]}" for kind, row_id in first.items())
    return HanlinError(
        f"{found}.",
        "sources of one kind, or the kind to keep",
        f"add {' or '.join(f'rows={kind}' for kind in first)}; the other rows go to rejected.parquet",
        "src/hanlin/make/collect/README.md",
    )
