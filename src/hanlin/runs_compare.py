"""`hanlin runs compare`: runs side by side as text, the better figure marked with a star."""

from __future__ import annotations

from collections.abc import Sequence

from hanlin.columns import aligned, cut, one_line
from hanlin.curves import COLOURS, PLAIN, Ink, draw
from hanlin.report.comparison import Comparison, Row
from hanlin.runs_view import CURVE_HEIGHT, MEASURES, key_figure, state_words

BEST_COLOUR = "1;32"
LONGEST_CELL = 26

NOTES = {
    "rooms": "The runs are of different rooms: their losses do not mean the same.",
    "data": "They read different data: held-out figures were measured on different texts.",
    "tokenizer": "Their tokens may differ: a loss per token of one can't be held against another's.",
}


def compare_lines(comparison: Comparison, width: int = 80, ink: Ink = PLAIN) -> list[str]:
    """For a terminal of this width."""
    by, measure = comparison.by, MEASURES[comparison.measure]
    parts = [
        _names(comparison, ink),
        [ink.paint(f"  note: {NOTES[note]}", "33") for note in comparison.notes],
        _table("Options and inputs that differ", comparison.options, comparison, ink, "none"),
        _table("Figures (* the better one)", comparison.figures, comparison, ink),
        _curves(comparison, f"{measure} over {by}: lines in training, capitals held-out", width, ink),
        _table(f"Training {measure}, after equal {by}", comparison.equal, comparison, ink),
    ]
    if comparison.reached:
        row = comparison.reached
        title = f"How many {by} until {row.name}, which all have reached"
        parts.append(_table(title, [Row(by, row.cells, row.best)], comparison, ink))
    return [line for part in parts for line in part]


def _names(comparison: Comparison, ink: Ink) -> list[str]:
    rows = []
    for letter, record in zip(comparison.letters, comparison.records):
        made_by = " ".join(filter(None, (record.room, record.method)))
        rows.append((letter, str(record.path), made_by, state_words(record), key_figure(record, record.history())))
    return [_in_colour(line, place, ink) for place, line in enumerate(aligned(rows))]


def _in_colour(line: str, place: int, ink: Ink) -> str:
    """The letter in the colour of its curve."""
    return ink.paint(line[0], f"1;{COLOURS[place % len(COLOURS)]}") + line[1:]


def _table(title: str, rows: Sequence[Row], comparison: Comparison, ink: Ink, otherwise: str = "") -> list[str]:
    if not rows:
        return ["", ink.paint(title, "1"), f"  {otherwise}"] if otherwise else []
    cells = [["", *comparison.letters]]
    for row in rows:
        shown = [cut(one_line(cell), LONGEST_CELL) or "·" for cell in row.cells]
        cells.append([f"  {row.name}", *(f"{c} *" if p in row.best else f"{c}  " for p, c in enumerate(shown))])
    # Numbers end below each other, words begin so.
    right = frozenset(range(1, len(cells[0]))) if any(row.best for row in rows) else frozenset()
    if right:
        cells[0] = ["", *(f"{letter}  " for letter in comparison.letters)]
    head, *lines = aligned(cells, right)
    return ["", ink.paint(title, "1"), ink.paint(head, "2"), *(_starred(line, ink) for line in lines)]


def _starred(line: str, ink: Ink) -> str:
    """Each marked cell in colour, its star too."""
    if not ink.colours:
        return line
    words = line.split("  ")
    return "  ".join(ink.paint(word, BEST_COLOUR) if word.endswith(" *") else word for word in words)


def _curves(comparison: Comparison, title: str, width: int, ink: Ink) -> list[str]:
    if not any(curve.points or curve.dots for curve in comparison.curves):
        return []
    return ["", *draw(comparison.curves, width, CURVE_HEIGHT + 2, title, ink)]
