"""What is drawn, apart from how: curves of numbers, their bins, and the axes they stand on. The terminal
(`hanlin.curves`) and the pages (`hanlin.report.curve`) share it."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

Point = tuple[float, float]

LOG_SPAN = 10.0
"""Values that span more than this get a logarithmic axis."""

FEW, POINTS_A_BIN = 40, 6

LARGEST, SMALLEST = 1e100, 1e-100
"""What is larger is no measurement, and its square would overflow; below the smallest no axis is logarithmic."""


@dataclass(frozen=True)
class Curve:
    """points: of the training steps; dots: measured now and then, on held-out text; marks: (x, what) of alerts."""

    name: str
    points: tuple[Point, ...] = ()
    dots: tuple[Point, ...] = ()
    marks: tuple[tuple[float, str], ...] = ()


@dataclass(frozen=True)
class Axis:
    low: float
    high: float
    log: bool = False

    def share(self, value: float) -> float:
        """0 at the low end, 1 at the high one; what lies outside stands at the nearer end."""
        if self.log:
            value = max(value, self.low)
            along = math.log(value / self.low) / math.log(self.high / self.low)
        else:
            along = (value - self.low) / (self.high - self.low)
        return min(1.0, max(0.0, along))

    def ticks(self, about: int) -> list[float]:
        """Round numbers on the axis, roughly `about` of them."""
        if not self.log:
            return ticks(self.low, self.high, about)
        powers = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)
        values: list[float] = []
        for factors in ((1, 2, 3, 5, 7), (1, 2, 5), (1, 3), (1,)):
            values = [value for p in powers for f in factors if self.low <= (value := f * 10.0**p) <= self.high]
            if len(values) <= about:
                break
        values = values[:: math.ceil(len(values) / max(1, about)) or 1]
        return values if len(values) > 1 else ticks(self.low, self.high, about)


@dataclass(frozen=True)
class Bin:
    """The points of one column: the mean of their places, their median, least and greatest value."""

    column: int
    x: float
    median: float
    low: float
    high: float


def is_number(value: float) -> bool:
    return math.isfinite(value) and abs(value) < LARGEST


def numbers(points: Iterable[Point]) -> list[Point]:
    """Without the points that can't be drawn."""
    return [(x, y) for x, y in points if is_number(x) and is_number(y)]


def bins(points: Sequence[Point], x_axis: Axis, count: int) -> list[Bin]:
    """The axis cut into `count` columns; columns without a point are left out."""
    columns: dict[int, list[Point]] = {}
    for x, y in numbers(points):
        if x_axis.low <= x <= x_axis.high:
            columns.setdefault(min(count - 1, int(x_axis.share(x) * count)), []).append((x, y))
    return [_bin(column, within) for column, within in sorted(columns.items())]


def _bin(column: int, points: Sequence[Point]) -> Bin:
    ys = [y for _, y in points]
    return Bin(column, sum(x / len(points) for x, _ in points), statistics.median(ys), min(ys), max(ys))


def num_bins(num_points: int, most: int) -> int:
    """Each point its own column while they are few; then several a column, so that noise does not hide the curve."""
    return most if num_points <= FEW else min(most, max(FEW, num_points // POINTS_A_BIN))


def x_axis_of(curves: Iterable[Curve]) -> Axis:
    """From the start to the farthest point."""
    xs = [0.0]
    for curve in curves:
        xs += [x for x, _ in numbers([*curve.points, *curve.dots])]
    return _with_room(min(xs), max(xs), 0.0, False)


def y_axis_of(curves: Iterable[Curve], lines: Iterable[Sequence[Bin]]) -> Axis:
    """Over the medians and the dots, with most of the bins' spread and a little room: one wild step does not press the
    curve flat. Logarithmic where medians and dots span more than LOG_SPAN."""
    known, spread = [y for curve in curves for _, y in numbers(curve.dots)], []
    for line in lines:
        known += [b.median for b in line]
        if line:
            spread += [_share_of([b.low for b in line], 0.05), _share_of([b.high for b in line], 0.95)]
    low, high = min(known, default=0.0), max(known, default=0.0)
    log = low > SMALLEST and high / low > LOG_SPAN
    low, high = min([low, *spread]), max([high, *spread])
    return _with_room(low, high, 0.04, log and low > SMALLEST)


def _share_of(values: Sequence[float], share: float) -> float:
    """The value that this share of the others lie below."""
    return sorted(values)[round(share * (len(values) - 1))]


def _with_room(low: float, high: float, share: float, log: bool) -> Axis:
    if log:
        room = (high / low) ** share
        return Axis(low / room, high * room, True)
    least = max(abs(low), abs(high), 1e-9) * 1e-6
    if high - low < least:
        return Axis(low, high + max(least, 1e-3)) if share == 0 else Axis(low - max(least, 0.5), high + max(least, 0.5))
    return Axis(low - share * (high - low), high + share * (high - low))


def ticks(low: float, high: float, about: int) -> list[float]:
    """Round numbers between low and high, roughly `about` of them: steps of 1, 2 or 5 times a power of ten."""
    rough = (high - low) / max(1, about)
    power = 10 ** math.floor(math.log10(rough)) if rough > 0 else 1
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough or factor == 10)
    first, digits = math.ceil(low / step - 1e-9), 2 - math.floor(math.log10(step))
    return [round(step * place, digits) for place in range(first, math.floor(high / step + 1e-9) + 1)]


def labels(values: Sequence[float]) -> list[str]:
    """As short as they stay different: 1.5k, 2M, 0.25."""
    for digits in (3, 4, 6, 9):
        shown = [short(value, digits) for value in values]
        if len(set(shown)) == len(values):
            return shown
    return [f"{value:g}" for value in values]


def short(number: float, digits: int = 3) -> str:
    """812 · 1.5k · 3.21M · 5.4G"""
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(number) >= size * (1 - 0.5 * 10**-digits):
            return f"{number / size:.{digits}g}{letter}" if abs(number) < 1e13 else f"{number:.{digits}g}"
    return f"{number:.{digits}g}"
