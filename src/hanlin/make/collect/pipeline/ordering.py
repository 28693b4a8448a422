"""Rows for training in another order than that of reading, without holding them all in memory.

Each shard writes its rows as a run, cut into parts by their keys; then each part of all runs is sorted and written. The
parts are about as large as the shards, and one after the other they are in order.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from hanlin.core.text.documents import SCHEMA, Row, rows_of, table_of, write_rows
from hanlin.make.collect.config import Collect
from hanlin.make.collect.mix import chance, order_key

_RUN = "run-{:05d}.parquet"
_NUM_KEYS = 64


def some_keys(rows: Iterable[Row], config: Collect) -> np.ndarray:
    """(64,) of the rows' keys, evenly spread over their order; (0,) for no rows."""
    keys = sorted(order_key(row, config.mix, config.seed) for row in rows)
    return np.quantile(keys, np.linspace(0, 1, _NUM_KEYS)) if keys else np.empty(0)


def bounds_of(keys: Sequence[Sequence[float]], num_parts: int) -> tuple[float, ...]:
    """Keys that divide the rows into about `num_parts` parts. keys: some of every shard."""
    ordered = np.sort(np.concatenate(keys)) if keys else np.empty(0)
    places = [round(len(ordered) * part / num_parts) for part in range(1, num_parts)]
    return tuple(float(ordered[place]) for place in places if place < len(ordered))


def write_run(out: Path, number: int, rows: Iterable[Row], bounds: tuple[float, ...], config: Collect) -> None:
    """One shard's rows, a row group for each part."""
    parts: list[list[Row]] = [[] for _ in range(len(bounds) + 1)]
    for row in rows:
        key = order_key(row, config.mix, config.seed)
        parts[int(np.searchsorted(bounds, key, side="right"))].append(row)
    with pq.ParquetWriter(out / _RUN.format(number), SCHEMA, compression="lz4") as writer:
        for part in parts:
            writer.write_table(table_of(part))


def merge_runs(task: tuple[Collect, Path, int, int]) -> None:
    """One part of all shards, in order, into its file. task: (config, folder, number of runs, part)."""
    config, out, num_runs, part = task
    rows: list[Row] = []
    for number in range(num_runs):
        with pq.ParquetFile(out / _RUN.format(number)) as run:
            rows += rows_of(run.read_row_group(part))
    rows.sort(key=lambda row: (order_key(row, config.mix, config.seed), chance(config.seed, "order", row.id), row.id))
    write_rows(out / f"train-{part:05d}.parquet", rows)


def remove_runs(out: Path, num_runs: int) -> None:
    for number in range(num_runs):
        (out / _RUN.format(number)).unlink(missing_ok=True)
