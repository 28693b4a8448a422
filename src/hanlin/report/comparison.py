"""Runs side by side: what was asked differently, what came out, and the loss at equal steps, tokens or minutes."""

from __future__ import annotations

import json
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from hanlin.report.history import By, History, Measure
from hanlin.report.plotting import Curve, Point, is_number, numbers, short
from hanlin.report.record import Record, flat
from hanlin.trust.evaluate.ledger import MEASURES as LEDGER

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"

SHARES = (0.1, 0.25, 0.5, 0.75, 1.0)
"""Of the shortest run: where losses are compared."""

WINDOW = 0.05
"""A loss at a place is the mean over this share of the shortest run before it: single steps are noise."""

LOWER = ("loss", "bpc", "bits_per_character", "kl_nats", "alerts")
HIGHER = ("tokens_per_second", "peak_share", "agreement", "greedy_match", "characters_per_token")
"""Names, or parts of names, whose smaller or larger value is the better one. Other figures are only shown."""


@dataclass(frozen=True)
class Row:
    """One figure or option of each run; `best`: the places of the better ones, none where nothing is better."""

    name: str
    cells: tuple[str, ...]
    best: frozenset[int] = frozenset()


@dataclass(frozen=True)
class Comparison:
    """`equal`: the training loss at equal places. `reached`: the first place where a run has the loss that all reach.
    `notes`: why figures may not be comparable: other "rooms", other "data", another "tokenizer"."""

    records: tuple[Record, ...]
    measure: Measure
    by: By
    options: tuple[Row, ...]
    figures: tuple[Row, ...]
    equal: tuple[Row, ...]
    reached: Row | None
    curves: tuple[Curve, ...]
    notes: tuple[str, ...]

    @property
    def letters(self) -> tuple[str, ...]:
        return tuple(LETTERS[place % len(LETTERS)] for place in range(len(self.records)))


def compare(records: Sequence[Record], by: By = "steps") -> Comparison:
    """Runs of any state and any room. The measure is bits per character where every run tells it."""
    histories = [record.history() for record in records]
    trained = [history for history in histories if history.steps]
    measure: Measure = "bpc" if trained and all(history.measure == "bpc" for history in trained) else "loss"
    lines = [numbers(history.training(measure, by)) for history in histories]
    notes = _notes(records, measure)
    if "rooms" in notes:  # their losses do not mean the same
        lines = [[] for _ in lines]
    return Comparison(
        tuple(records),
        measure,
        by,
        tuple(_options(records)),
        tuple(_figures(records, histories)),
        tuple(_at_equal_places(lines, by)),
        _reached(lines, by),
        tuple(history.curve(str(record.path), measure, by) for record, history in zip(records, histories)),
        tuple(notes),
    )


def _options(records: Sequence[Record]) -> list[Row]:
    """Room, inputs and options that are not the same everywhere."""
    facts = [{"room": r.room, "method": r.method, **_inputs(r), **flat(r.config)} for r in records]
    rows = []
    for name in dict.fromkeys(name for own in facts for name in own):
        cells = tuple(_written(own[name]) if name in own else "" for own in facts)
        if len(set(cells)) > 1:
            rows.append(Row(name, cells))
    return rows


def _inputs(record: Record) -> dict[str, str]:
    """An input is named by its id, where that is known, and its path: paths may be equal and the data not."""
    return {e["name"]: f"{e.get('id', '')[:8]} {e['path']}".strip() for e in record.inputs}


def _written(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


def _figures(records: Sequence[Record], histories: Sequence[History]) -> list[Row]:
    facts = [figures_of(record, history) for record, history in zip(records, histories)]
    rows = []
    for name in dict.fromkeys(name for own in facts for name in own):
        values = [own.get(name) for own in facts]
        known = [value for value in values if value is not None]
        cells = tuple("" if value is None else figure(name, value) for value in values)
        better = _direction(name)
        best = better(known) if better and len(known) > 1 and len(set(cells)) > 1 else None
        rows.append(Row(name, cells, frozenset(p for p, v in enumerate(values) if v is not None and v == best)))
    return rows


def figures_of(record: Record, history: History) -> dict[str, float]:
    """Every number of a run: its metrics, and what its log tells of speed and of an unfinished state."""
    facts: dict[str, Any] = {}
    if history.steps:
        last = history.steps[-1]
        facts = {"steps": last["step"], "tokens": last["tokens"], "seconds": last["seconds"]}
    facts |= {k: v for k, v in flat(record.metrics).items() if isinstance(v, int | float) and not isinstance(v, bool)}
    if not record.metrics and history.heldout:
        point = history.heldout[-1]
        facts |= {f"heldout_{name}": v for name in ("bpc", "loss") if (v := getattr(point, name)) is not None}
    for name in ("tokens_per_second", "peak_share"):
        if (middle := history.median(name)) is not None:
            facts[name] = middle
    if history.steps:
        facts["alerts"] = len(history.alerts)
    return {name: value for name, value in facts.items() if is_number(value)}


def figure(name: str, value: float) -> str:
    """A figure as a person reads it."""
    if name in LEDGER:
        return LEDGER[name][2].format(value)
    if name.endswith(("_share", "_agreement", "_rate")):
        return f"{value:.1%}"
    if name.endswith("seconds"):
        return f"{value:,.1f}"
    return f"{value:,}" if isinstance(value, int) else (f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}")


def _direction(name: str) -> Callable[[Sequence[float]], float] | None:
    """min, max, or None where neither is better."""
    if name in LEDGER:
        return max if "高" in LEDGER[name][1] else min
    if any(part in name for part in HIGHER):
        return max
    return min if any(part in name for part in LOWER) else None


# ── the loss at equal places ──────────────────────────────────────────────────────────────────────────────────────


def _shortest(lines: Sequence[Sequence[Point]]) -> float:
    """How far all runs have come; 0 where fewer than two have trained."""
    ends = [line[-1][0] for line in lines if line]
    return min(ends) if len(ends) > 1 else 0.0


def _at_equal_places(lines: Sequence[Sequence[Point]], by: By) -> list[Row]:
    shortest = _shortest(lines)
    if shortest <= 0:
        return []
    rows = []
    for share in SHARES:
        x = share * shortest if by == "minutes" else round(share * shortest)
        values = [_mean_before(line, x, WINDOW * shortest) for line in lines]
        known = [value for value in values if value is not None]
        if len(known) > 1:
            best = min(known) if len({f"{value:.3f}" for value in known}) > 1 else None
            cells = tuple("" if value is None else f"{value:.3f}" for value in values)
            places = frozenset(place for place, value in enumerate(values) if value is not None and value == best)
            rows.append(Row(written_place(x, by), cells, places))
    return list({row.name: row for row in rows}.values())


def _mean_before(line: Sequence[Point], x: float, window: float) -> float | None:
    """The mean over (x − window, x]; where no step ended there, the last one before."""
    before = [point for point in line if point[0] <= x]
    near = [y for place, y in before if place > x - window] or [y for _, y in before[-1:]]
    return statistics.fmean(near) if near else None


def _reached(lines: Sequence[Sequence[Point]], by: By) -> Row | None:
    """The worst of the runs' last losses is one that all have reached: where did each reach it first?"""
    shortest = _shortest(lines)
    if shortest <= 0:
        return None
    smooth = [_running_mean(line, WINDOW * shortest) for line in lines]
    goal = max(line[-1][1] for line in smooth if line)
    places = [next((x for x, y in line if y <= goal), None) for line in smooth]
    known = [x for x in places if x is not None]
    best = min(known) if len(set(known)) > 1 else None
    cells = tuple("" if x is None else written_place(x, by) for x in places)
    return Row(f"{goal:.3f}", cells, frozenset(p for p, x in enumerate(places) if x is not None and x == best))


def _running_mean(line: Sequence[Point], window: float) -> list[Point]:
    """At each point once a whole window has passed, the mean over the window before it."""
    smooth, total, first = [], 0.0, 0
    for place, (x, y) in enumerate(line):
        total += y
        while line[first][0] <= x - window:
            total -= line[first][1]
            first += 1
        if x >= window or place == len(line) - 1:
            smooth.append((x, total / (place - first + 1)))
    return smooth


def written_place(x: float, by: By) -> str:
    return f"{x:.2f}" if by == "minutes" else (f"{x:,.0f}" if by == "steps" else short(x, 4))


def _notes(records: Sequence[Record], measure: Measure) -> list[str]:
    def differ(facts: Callable[[Record], Any]) -> bool:
        return len({_written(fact) for record in records if (fact := facts(record))}) > 1

    def read(name: str) -> Callable[[Record], Any]:
        """An input's id; its path while the run is unfinished."""
        return lambda record: next((e.get("id") or "" for e in record.inputs if e["name"] == name), "")

    notes = []
    if len({record.room for record in records}) > 1:
        notes.append("rooms")
    if any(differ(read(name)) for name in ("corpus", "data")):
        notes.append("data")
    if measure == "loss" and (differ(read("tokenizer")) or differ(read("model"))):
        notes.append("tokenizer")
    return notes
