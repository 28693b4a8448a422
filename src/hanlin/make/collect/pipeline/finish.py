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
from hanlin.core.text.script import count_scripts
from hanlin.make.collect.config import Collect
from hanlin.make.collect.heldout import Assignment, assign, cut_single_group, split_before_end
from hanlin.make.collect.mix import Mix, Portion, copies, portions, unused_names
from hanlin.make.collect.pipeline.engines import Map
from hanlin.make.collect.pipeline.ordering import bounds_of, merge_runs, remove_runs, write_run
from hanlin.make.collect.pipeline.outlook import is_measured
from hanlin.make.collect.pipeline.shards import read_shard
from hanlin.make.collect.pipeline.stages import Job, Processed


@dataclass(frozen=True)
class Placing:
    """How one shard's rows find their files.

    epochs: how often its rows are read; None where nothing is mixed
    number: in the files' names; None where the shard is the only one
    bounds: where the order of training puts the borders between its files; None to keep the shards' own order
    """

    config: Collect
    kind: str
    moved: dict[str, Split]
    out: Path
    number: int | None
    num_shards: int = 1
    epochs: float | None = None
    bounds: tuple[float, ...] | None = None


def finish(job: Job, processed: Processed, mapping: Map, emit: Emit) -> list[Portion]:
    """Write train, heldout and rejected beside the work folder. Returns what the mixture takes of each source, [] where
    nothing is mixed. Raises HanlinError where rows of two kinds are there and none was asked for."""
    config, shards, out = job.config, processed.shards, job.folder.parent
    for old in (path for split in SPLITS for path in out.glob(f"{split}*.parquet")):
        old.unlink()
    if not shards:
        _write(out, None, [])
        return []
    seen = _seen(processed.outlooks)
    kind = _kind(config, seen)
    assignment = Assignment(config.seed, config.heldout_share if config.heldout == "groups" else 0.0)
    assignment.note(seen["ends"].get(kind, []))
    if config.heldout == "end":
        _hold_out_end(config, shards, out, kind, seen["characters"][kind])
    elif assignment.share and assignment.single_group:
        _write(out, None, _cut(list(_all_rows(shards, config, kind)), assignment, emit))
    else:
        return _place_all(job, processed, Placing(config, kind, assignment.settle(), out, None), mapping, emit)
    if config.mix != Mix():
        emit("note", text="mix is left aside: the corpus is one document, or its end is held out.")
    return []


def _hold_out_end(config: Collect, shards: Sequence[Path], out: Path, kind: str, characters: int) -> None:
    kept = (row for row in _all_rows(shards, config, kind) if not row.reason)
    placed = split_before_end(kept, characters, config.heldout_share)
    _write(out, None, chain(placed, _rejected(_all_rows(shards, config, kind))))


def _place_all(job: Job, processed: Processed, placing: Placing, mapping: Map, emit: Emit) -> list[Portion]:
    """Every shard into its files; in another order than that of reading, by way of runs that are sorted and merged."""
    config, shards = job.config, processed.shards
    mixture: list[Portion] = []
    if is_measured(config, job.inputs):
        mixture = _mixture(job, processed, placing.kind, emit)
    is_single = len(shards) == 1 and config.mix == Mix()
    bounds = None
    if config.mix.order != "as_read":
        keys = [seen["keys"][placing.kind] for seen in processed.outlooks if placing.kind in seen["keys"]]
        bounds = bounds_of(keys, len(shards))
    tasks = []
    for number, (shard, source) in enumerate(zip(shards, processed.source_of)):
        epochs = mixture[source].epochs if mixture else None
        own = replace(
            placing, number=None if is_single else number, num_shards=len(shards), epochs=epochs, bounds=bounds
        )
        tasks.append((own, shard))
    for done, _ in enumerate(mapping(_place, tasks), start=1):
        emit("progress", done=done, total=len(tasks), what="writing")
    if bounds is not None:
        merges = [(config, placing.out, len(shards), part) for part in range(len(bounds) + 1)]
        for done, _ in enumerate(mapping(merge_runs, merges), start=1):
            emit("progress", done=done, total=len(merges), what="ordering")
        remove_runs(placing.out, len(shards))
    return mixture


def _mixture(job: Job, processed: Processed, kind: str, emit: Emit) -> list[Portion]:
    names = [source.address for source in job.sources]
    if unused := unused_names(names, job.config.mix):
        emit("note", text=f"mix has numbers for {', '.join(unused)}, which no source is called; they are left aside.")
    sizes = [0] * len(names)
    for source, seen in zip(processed.source_of, processed.outlooks):
        sizes[source] += seen["sizes"].get(kind, 0)
    unit = "tokens" if "tokenizer" in job.inputs else "characters"
    return portions(names, sizes, job.config.mix, unit)


def _seen(outlooks: Iterable[dict[str, Any]]) -> dict[str, Any]:
    total: dict[str, Any] = {"first": {}, "characters": Counter(), "ends": {}}
    for seen in outlooks:
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
        yield from _finished(read_shard(shard), config, kind)


def _finished(rows: Sequence[Row], config: Collect, kind: str) -> Iterator[Row]:
    for row, count in zip(rows, count_scripts([row.content for row in rows])):
        reason = row.reason
        if not reason and row.kind != kind:
            reason = f"other kind: {row.kind}, rows={config.rows} was asked for"
        yield row.changed(script=count.script, reason=reason)


def _place(task: tuple[Placing, Path]) -> None:
    placing, shard = task
    placed = list(_placed(placing, shard))
    if placing.bounds is not None:
        training = [row for row, split, _ in placed if split == "train"]
        write_run(placing.out, placing.number or 0, training, placing.bounds, placing.config)
        placed = [(row, split, copy) for row, split, copy in placed if split != "train"]
    _write(placing.out, placing.number, [(row, split) for row, split, copy in placed if not copy])
    for copy in range(1, 1 + max((copy for _, _, copy in placed), default=0)):
        assert placing.number is not None
        again = [(row, split) for row, split, number in placed if number == copy]
        _write(placing.out, placing.number + copy * placing.num_shards, again)


def _placed(placing: Placing, shard: Path) -> Iterator[tuple[Row, Split, int]]:
    """(row, split, number of the copy) of a shard; a row that the mixture takes none of is rejected."""
    config = placing.config
    share = config.heldout_share if config.heldout == "groups" else 0.0
    assignment = Assignment(config.seed, share)
    for row in _finished(read_shard(shard), config, placing.kind):
        split = assignment.split_of(row)
        split = split if split == "rejected" else placing.moved.get(row.group, split)
        if split == "rejected" or placing.epochs is None:
            yield row, split, 0
            continue
        times = copies(row.id, placing.epochs, config.seed)
        if split == "heldout":
            times = min(times, 1)
        if not times:
            yield replace(row, reason=f"left out by the mix: {placing.epochs:g} epochs"), "rejected", 0
        for copy in range(times):
            yield (replace(row, id=f"{row.id}@{copy + 1}") if copy else row), split, copy


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
