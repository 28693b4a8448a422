"""Duplicates by the row they repeat: dropped rows say it in their reason ("near duplicate: a.txt (0.87)")."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from hanlin.core.text.documents import SCHEMA, rows_of
from hanlin.make.collect.report.samples import Draw, excerpt

MOST_CLUSTERS = 20_000
"""Clusters that are remembered; beyond twice as many the small ones are forgotten, so that memory stays flat."""

NUM_CLUSTERS = 10
NUM_MEMBERS = 4

_REASON = re.compile(r"(?:near )?duplicate: (?P<first>.+?)(?: \((?P<likeness>[0-9.]+)\))?", re.DOTALL)


@dataclass
class Clusters:
    """By the kept row's id: a draw of the dropped ones, (id, likeness in words), and how many there are."""

    by_first: dict[str, Draw[tuple[str, str]]] = field(default_factory=dict)

    def note(self, key: int, row_id: str, reason: str) -> None:
        """Add a dropped row. key: its place in the draw."""
        if match := _REASON.fullmatch(reason):
            draw = self.by_first.setdefault(match["first"], Draw(NUM_MEMBERS))
            draw.offer(key, (row_id, match["likeness"] or ""))
            self._forget_small()

    def add(self, other: Clusters) -> None:
        for first, draw in other.by_first.items():
            self.by_first.setdefault(first, Draw(NUM_MEMBERS)).add(draw)
        self._forget_small()

    def largest(self, number: int = NUM_CLUSTERS) -> list[tuple[str, Draw[tuple[str, str]]]]:
        return sorted(self.by_first.items(), key=lambda entry: (-entry[1].offered, entry[0]))[:number]

    def _forget_small(self) -> None:
        if len(self.by_first) > 2 * MOST_CLUSTERS:
            self.by_first = dict(self.largest(MOST_CLUSTERS))


def wanted_ids(clusters: Clusters) -> frozenset[str]:
    """The rows that are shown of the largest clusters."""
    largest = clusters.largest()
    return frozenset(first for first, _ in largest) | {row_id for _, draw in largest for row_id, _ in draw}


def find_rows(task: tuple[Path, frozenset[str]]) -> dict[str, dict[str, Any]]:
    """Excerpts of those of the wanted rows that stand in a corpus file. Only their row groups are read whole."""
    path, wanted = task
    values = pa.array(sorted(wanted), pa.string())
    found: dict[str, dict[str, Any]] = {}
    with pq.ParquetFile(path) as file:
        columns = [name for name in SCHEMA.names if name in file.schema_arrow.names]
        for group in range(file.num_row_groups):
            ids = file.read_row_group(group, columns=["id"])["id"]
            mask = pc.is_in(ids, values)
            if pc.any(mask).as_py():
                rows = file.read_row_group(group, columns=columns).filter(mask)
                found |= {row.id: excerpt(row) for row in rows_of(rows)}
    return found


def cluster_figures(clusters: Clusters, rows: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
    """The largest, each {id, dropped: rows, row: excerpt of the kept one or None, members: [{…excerpt, likeness}]}."""
    return [
        {
            "id": first,
            "dropped": draw.offered,
            "row": rows.get(first),
            "members": [{**rows.get(row_id, {"id": row_id}), "likeness": likeness} for row_id, likeness in draw],
        }
        for first, draw in clusters.largest()
    ]
