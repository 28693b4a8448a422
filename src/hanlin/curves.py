"""Curves drawn in a terminal: numbers in, lines of text out.

One curve is drawn with braille dots, two across and four down in each character: a line for the median of each column
and scattered dots between its least and greatest value. Several curves have colours, or letters where there are none.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from hanlin.columns import cut, pad
from hanlin.report.plotting import Axis, Bin, Curve, bins, labels, num_bins, numbers, x_axis_of, y_axis_of

COLOURS = ("36", "35", "33", "32", "34", "31")
"""Codes of cyan, magenta, yellow, green, blue and red, in the order of the curves."""

ALERT, HELD_OUT, FAINT = "1;31", "1;33", "2"

MARGIN = 5
"""Least columns for the numbers at the left: pictures of the same width stand below each other."""

BRAILLE = 0x2800
DOTS = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))
"""Bit of the dot at [row][column] of a braille character."""

LETTERS = "abcdefghijklmnopqrstuvwxyz"


@dataclass(frozen=True)
class Ink:
    """What the terminal can show."""

    colours: bool = False
    unicode: bool = True

    def paint(self, text: str, code: str) -> str:
        return f"\x1b[{code}m{text}\x1b[0m" if self.colours and code and text.strip() else text


PLAIN = Ink()


def draw(
    curves: Sequence[Curve],
    width: int = 80,
    height: int = 20,
    title: str = "",
    ink: Ink = PLAIN,
    y_axis: Axis | None = None,
    margin: int = MARGIN,
) -> list[str]:
    """Exactly `height` lines (at least 5) of at most `width` columns (at least 20): the title, the picture, the axis,
    its numbers. Any values may come: what is not finite is left out.

    y_axis: default over what is drawn, with a little room. margin: least columns for the numbers at the left.
    """
    width, height = max(width, 20), max(height, 5)
    rows, columns, several = height - 3, width - margin - 2, len(curves) > 1
    x_axis = x_axis_of(curves)
    grid = _Grid(columns, rows, fine=ink.unicode and (ink.colours or not several))
    lines = [bins(curve.points, x_axis, num_bins(len(curve.points), grid.wide)) for curve in curves]
    y_scale = y_axis or y_axis_of(curves, lines)
    named = _row_labels(y_scale, rows)
    longest = max(map(len, named.values()), default=0)
    if margin < longest <= width // 2:
        return draw(curves, width, height, title, ink, y_axis, longest)
    for place, (curve, line) in enumerate(zip(curves, lines)):
        _add(grid, curve, line, place, several, x_axis, y_scale)
    bar, tick, corner, dash = ("│", "┤", "└", "─") if ink.unicode else ("|", "|", "+", "-")
    drawn = [cut(f"{' ' * margin} {title}", width).rstrip()]
    for row, cells in enumerate(grid.lines(ink)):
        label = named.get(row, "")
        label = label if len(label) <= margin else ""  # half a number would be another number
        drawn.append(f"{pad(label, margin, right=True)} {tick if label else bar}{cells}".rstrip())
    drawn.append(" " * (margin + 1) + corner + _axis_line(curves, x_axis, columns, dash, ink))
    drawn.append((" " * (margin + 2) + _axis_numbers(x_axis, columns)).rstrip())
    return drawn


def _row_labels(y_axis: Axis, rows: int) -> dict[int, str]:
    """{row: number}, at most one a row and not in neighbouring rows."""
    values = y_axis.ticks(max(2, min(8, rows // 2)))
    placed: dict[int, str] = {}
    for value, label in zip(values, labels(values)):
        row = round((1 - y_axis.share(value)) * (rows - 1))
        if row not in placed and row + 1 not in placed and row - 1 not in placed:
            placed[row] = label
    return placed


def _axis_line(curves: Sequence[Curve], x_axis: Axis, columns: int, dash: str, ink: Ink) -> str:
    """The axis; an alert stands on it as an exclamation mark."""
    cells = [dash] * columns
    for curve in curves:
        for x, _ in curve.marks:
            if math.isfinite(x):
                cells[_column(x_axis, x, columns)] = ink.paint("!", ALERT)
    return "".join(cells)


def _axis_numbers(x_axis: Axis, columns: int) -> str:
    """Numbers below their places, the last one inside the edge; one that would touch its neighbour is left out."""
    values = x_axis.ticks(max(1, columns // 12))
    line = ""
    for value, label in zip(values, labels(values)):
        first = max(0, min(_column(x_axis, value, columns) - len(label) // 2, columns - len(label)))
        if len(label) <= columns and (not line or first > len(line) + 1):
            line = line.ljust(first) + label
    return line


def _column(x_axis: Axis, x: float, columns: int) -> int:
    return min(columns - 1, int(x_axis.share(x) * columns))


# ── one curve on the grid ─────────────────────────────────────────────────────────────────────────────────────────


def _add(grid: _Grid, curve: Curve, line: Sequence[Bin], place: int, several: bool, x_axis: Axis, y_axis: Axis) -> None:
    colour = COLOURS[place % len(COLOURS)]
    letter = LETTERS[place % len(LETTERS)]

    def row(value: float, high: int) -> int:
        return round((1 - y_axis.share(value)) * (high - 1))

    if not several:
        _shade(grid, line, num_bins(len(curve.points), grid.wide), lambda y: row(y, grid.high), colour)
    path = [(_column(x_axis, b.x, grid.wide), row(b.median, grid.high)) for b in line]
    for x, y in _joined(path):
        grid.dot(x, y, letter if several else "*", colour)
    if several and path:
        last_x, last_y = path[-1]
        grid.write(last_x * grid.columns // grid.wide, last_y * grid.rows // grid.high, letter, colour)
    for at, value in numbers(curve.dots):
        cell = _column(x_axis, at, grid.columns), row(value, grid.rows)
        grid.write(*cell, letter.upper() if several else "o", colour if several else HELD_OUT)


def _shade(grid: _Grid, line: Sequence[Bin], count: int, row: Callable[[float], int], colour: str) -> None:
    """Scattered dots from the greatest to the least value of each bin."""
    for b in line:
        top, bottom = row(b.high), row(b.low)
        first, end = b.column * grid.wide // count, (b.column + 1) * grid.wide // count
        for x in range(first, max(end, first + 1)):
            for y in range(top, bottom + 1 if bottom > top else top):
                if x % 2 == 0 and y % 2 == 0:
                    grid.shade(x, y, colour)


def _joined(line: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """The dots of a line through these, column by column: where it falls steeply, several in one column."""
    dots = list(line[:1])
    for (x0, y0), (x1, y1) in pairwise(line):
        before = y0
        for x in range(x0 + 1, x1 + 1):
            y = round(y0 + (y1 - y0) * (x - x0) / (x1 - x0))
            step = 1 if y >= before else -1
            dots += [(x, between) for between in range(before + step, y, step)] if abs(y - before) > 1 else []
            dots.append((x, y))
            before = y
    return dots


@dataclass
class _Grid:
    """Characters with two by four dots each (fine), or one. Text stands over lines, lines over shade."""

    columns: int
    rows: int
    fine: bool
    masks: dict[tuple[int, int], int] = field(default_factory=dict)
    shades: dict[tuple[int, int], int] = field(default_factory=dict)
    texts: dict[tuple[int, int], str] = field(default_factory=dict)
    inks: dict[tuple[int, int], str] = field(default_factory=dict)

    @property
    def wide(self) -> int:
        return self.columns * (2 if self.fine else 1)

    @property
    def high(self) -> int:
        return self.rows * (4 if self.fine else 1)

    def dot(self, x: int, y: int, character: str, colour: str) -> None:
        if not self.fine:
            self.write(x, y, character, colour)
            return
        cell = (x // 2, y // 4)
        self.masks[cell] = self.masks.get(cell, 0) | DOTS[y % 4][x % 2]
        self.inks[cell] = colour

    def shade(self, x: int, y: int, colour: str) -> None:
        cell = (x // 2, y // 4) if self.fine else (x, y)
        self.shades[cell] = self.shades.get(cell, 0) | (DOTS[y % 4][x % 2] if self.fine else 1)
        self.inks.setdefault(cell, f"{FAINT};{colour}")

    def write(self, column: int, row: int, character: str, colour: str) -> None:
        self.texts[column, row] = character
        self.inks[column, row] = colour

    def lines(self, ink: Ink) -> list[str]:
        return ["".join(self._runs(row, ink)) for row in range(self.rows)]

    def _runs(self, row: int, ink: Ink) -> list[str]:
        """Neighbours of one colour are painted together."""
        parts, text, colour = [], "", ""
        for column in range(self.columns):
            cell = (column, row)
            if (own := self.inks.get(cell, "")) != colour:
                parts.append(ink.paint(text, colour))
                text, colour = "", own
            text += self._character(cell)
        return [*parts, ink.paint(text, colour)]

    def _character(self, cell: tuple[int, int]) -> str:
        if cell in self.texts:
            return self.texts[cell]
        mask = self.masks.get(cell) or self.shades.get(cell)
        if not mask:
            return " "
        return chr(BRAILLE + mask) if self.fine else "."
