"""What the steps found out (`Row.notes`), added up: counts and words become tables, numbers become histograms.

{"personal": {"mobile phone": 2}}: a table of the step, names with their sums. {"near": 0.93}: a histogram.
{"language": "yue"}: a table, how often each word; so are the words of a list.
{"quality": {"repetition": 0.2}}: a histogram "quality: repetition".
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from hanlin.make.collect.report.samples import Draw

MOST_NAMES = 10_000
"""Names that a table remembers; beyond twice as many the rare ones are forgotten, so that memory stays flat."""

NOT_COUNTED = ("facts", "build", "original")
"""What a reader or a builder tells of one row alone: its title, the row it was made from."""

MOST_SUBJECTS = 100
NAME_CHARS = 80
NUM_VALUES = 2000
"""Numbers drawn for a histogram; as many rows or fewer are all drawn."""

NAMED, MEASURED = {("near", "cluster"), ("build", "from")}, {("near", "size")}
"""What counts nothing: a cluster's number and a row's id name something, a cluster's size is a measure."""

NUM_BINS = 20
NUM_SHOWN = 50
"""Names of a table in the report."""


@dataclass
class Numbers:
    """Numbers that were found in rows: how many, how large, and a draw of them."""

    count: int = 0
    total: float = 0.0
    least: float = math.inf
    most: float = -math.inf
    drawn: Draw[float] = field(default_factory=lambda: Draw(NUM_VALUES))

    def note(self, key: int, value: float) -> None:
        self.count += 1
        self.total += value
        self.least, self.most = min(self.least, value), max(self.most, value)
        if self.drawn.wants(key):
            self.drawn.offer(key, value)

    def add(self, other: Numbers) -> None:
        self.count += other.count
        self.total += other.total
        self.least, self.most = min(self.least, other.least), max(self.most, other.most)
        self.drawn.add(other.drawn)


@dataclass
class Findings:
    """By subject ("personal", "quality: repetition"): sums by name, how many rows have any, and numbers."""

    tables: dict[str, Counter[str]] = field(default_factory=dict)
    rows: Counter[str] = field(default_factory=Counter)
    numbers: dict[str, Numbers] = field(default_factory=dict)

    def note(self, key: int, notes: Mapping[str, Any]) -> None:
        """Add what one row has. key: the row's place in the draw."""
        touched: set[str] = set()
        for subject, name, value in _pairs({name: part for name, part in notes.items() if name not in NOT_COUNTED}):
            if isinstance(value, float):
                if (numbers := _room_for(self.numbers, subject, Numbers)) is not None:
                    numbers.note(key, value)
            elif (table := _room_for(self.tables, subject, Counter)) is not None:
                table[name] += value
                touched.add(subject)
                _forget_rare(table)
        for subject in touched:
            self.rows[subject] += 1

    def add(self, other: Findings) -> None:
        for subject, table in other.tables.items():
            if (mine := _room_for(self.tables, subject, Counter)) is not None:
                mine.update(table)
                _forget_rare(mine)
        for subject, numbers in other.numbers.items():
            if (own := _room_for(self.numbers, subject, Numbers)) is not None:
                own.add(numbers)
        self.rows.update(other.rows)


def table_figures(kept: Findings, dropped: Findings) -> dict[str, Any]:
    """{subject: {rows, names, kept: {name: count}, dropped: {name: count}}}, the most frequent names first."""
    figures = {}
    for subject in sorted({*kept.tables, *dropped.tables}):
        inside, outside = kept.tables.get(subject, Counter()), dropped.tables.get(subject, Counter())
        everything = inside + outside
        names = sorted(everything, key=lambda name: (-inside[name], -outside[name], name))
        shown = names[:NUM_SHOWN]
        figures[subject] = {
            "rows": kept.rows[subject],
            "dropped_rows": dropped.rows[subject],
            "names": len(names),
            "total": inside.total(),
            "kept": {name: inside[name] for name in shown if inside[name]},
            "dropped": {name: outside[name] for name in shown if outside[name]},
        }
    return figures


def number_figures(kept: Findings, dropped: Findings) -> dict[str, Any]:
    """{subject: {kept: {rows, mean, least, most}, dropped: …, edges: (bins + 1), kept_bins, dropped_bins: rows}}"""
    figures = {}
    for subject in sorted({*kept.numbers, *dropped.numbers}):
        inside, outside = kept.numbers.get(subject, Numbers()), dropped.numbers.get(subject, Numbers())
        edges = _edges(min(inside.least, outside.least), max(inside.most, outside.most))
        figures[subject] = {
            "edges": edges,
            **{name: _figures(of) for name, of in (("kept", inside), ("dropped", outside)) if of.count},
            "kept_bins": _bins(inside, edges),
            "dropped_bins": _bins(outside, edges),
        }
    return figures


def _figures(numbers: Numbers) -> dict[str, float]:
    values = sorted(numbers.drawn)
    return {
        "rows": numbers.count,
        "mean": _rounded(numbers.total / numbers.count),
        "median": _rounded(values[len(values) // 2]),
        "least": _rounded(numbers.least),
        "most": _rounded(numbers.most),
    }


def _edges(least: float, most: float) -> list[float]:
    if least == most:
        return [least, most]
    # Whole numbers keep whole bins: a count of 1 never stands between two bars.
    whole = least.is_integer() and most.is_integer() and most - least < NUM_BINS
    bins = int(most - least) + 1 if whole else NUM_BINS
    end = most + 1 if whole else most
    return [_rounded(least + (end - least) * place / bins) for place in range(bins + 1)]


def _bins(numbers: Numbers, edges: list[float]) -> list[int]:
    """Rows between the edges: counted where all were drawn, else estimated from the draw."""
    values = list(numbers.drawn)
    bins = [0] * (len(edges) - 1)
    for value in values:
        place = int((value - edges[0]) / (edges[-1] - edges[0]) * len(bins)) if edges[-1] > edges[0] else 0
        bins[min(max(place, 0), len(bins) - 1)] += 1
    scale = numbers.count / len(values) if values else 1
    return [round(number * scale) for number in bins]


def _rounded(value: float) -> float:
    return float(f"{value:.6g}")


def _pairs(notes: Mapping[str, Any], depth: int = 0) -> Iterator[tuple[str, str, Any]]:
    """(subject, name, count), or (subject, "", float) for a number that is to be drawn."""
    for subject, value in notes.items():
        subject = str(subject)[:NAME_CHARS]
        if isinstance(value, Mapping):
            for name, part in value.items():
                name = str(name)[:NAME_CHARS]
                if (subject, name) in NAMED:
                    continue
                if (subject, name) in MEASURED:
                    yield f"{subject}: {name}", "", float(part)
                elif isinstance(part, int) and not isinstance(part, bool):
                    yield subject, name, part
                elif depth < 2:
                    yield from _pairs({f"{subject}: {name}": part}, depth + 1)
        elif isinstance(value, list | tuple):
            for part in value:
                if isinstance(part, str):
                    yield subject, part[:NAME_CHARS], 1
        elif isinstance(value, bool):
            yield subject, "yes" if value else "no", 1
        elif isinstance(value, int | float):
            if math.isfinite(value):
                yield subject, "", float(value)
        elif isinstance(value, str) and value:
            yield subject, value[:NAME_CHARS], 1


def _room_for(subjects: dict[str, Any], subject: str, new: Any) -> Any:
    """The subject's entry, a new one where there is room for another; None where there is none."""
    if subject not in subjects and len(subjects) >= MOST_SUBJECTS:
        return None
    return subjects.setdefault(subject, new())


def _forget_rare(table: Counter[str]) -> None:
    if len(table) > 2 * MOST_NAMES:
        kept = sorted(table.items(), key=lambda entry: (-entry[1], entry[0]))[:MOST_NAMES]
        table.clear()
        table.update(dict(kept))
