"""Shards on their way through the steps: some million characters of rows, kept and dropped ones, in one file.

Every file appears whole or not at all, and is a pure function of what it is made from: an interrupted run finds what it
has finished, and makes the rest again.
"""

from __future__ import annotations

import io
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from hanlin.core.run.artifact import write_atomic
from hanlin.core.text.documents import Row, read_file, table_of
from hanlin.make.collect.steps.step import Findings

SHARD_CHARS = 4_000_000
SHARD_ROWS = 100_000


def in_shards(rows: Iterable[Row]) -> Iterator[list[Row]]:
    """Lists of rows with about SHARD_CHARS characters each; none is empty."""
    shard: list[Row] = []
    characters = 0
    for row in rows:
        shard.append(row)
        characters += row.characters
        if characters >= SHARD_CHARS or len(shard) >= SHARD_ROWS:
            yield shard
            shard, characters = [], 0
    if shard:
        yield shard


def write_shard(path: Path, rows: Sequence[Row]) -> None:
    temporary = path.with_name(path.name + ".tmp")
    pq.write_table(table_of(rows), temporary, compression="lz4", use_dictionary=False)
    os.replace(temporary, path)


def read_shard(path: Path) -> list[Row]:
    return list(read_file(path))


def write_findings(path: Path, findings: Findings) -> None:
    buffer = io.BytesIO()
    np.savez(buffer, **findings)  # type: ignore[arg-type]
    write_atomic(path, buffer.getvalue())


def read_findings(path: Path) -> Findings:
    with np.load(path, allow_pickle=False) as file:
        return dict(file)


class Looks(Sequence[Findings]):
    """What was seen in each shard, read from its file at each access."""

    def __init__(self, paths: Sequence[Path]):
        self._paths = paths

    def __len__(self) -> int:
        return len(self._paths)

    def __getitem__(self, place: Any) -> Any:
        return Looks(self._paths[place]) if isinstance(place, slice) else read_findings(self._paths[place])


def read_facts(path: Path) -> dict[str, Any] | None:
    """The JSON object of a finished piece of work; None where it isn't finished."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
