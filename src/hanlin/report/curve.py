"""Training curves as SVG. Colours come from the page's CSS: light and dark alike."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape

from hanlin.core.run.numbers import count
from hanlin.report.history import By, History, Measure
from hanlin.report.plotting import Axis, Bin, Curve, Point, bins, labels, num_bins, numbers, x_axis_of, y_axis_of

LEFT, TOP, BOTTOM = 44, 24, 40
MOST_BINS = 90
"""Drawn points of one curve: more would only make it restless."""

LABEL_WIDTH, LABEL_HEIGHT = 44, 16
"""Pixels that a value beside a point needs, so that no two stand upon each other."""

NUM_COLOURS = 6
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"

MEASURES: dict[Measure, str] = {"bpc": "每字元位元數", "loss": "損失（每詞元 nats）"}

ALERTS = {
    "nan": "不再是有限的數字",
    "spike": "損失突然跳高",
    "stall": "停頓",
    "disk": "磁碟快滿了",
    "untrained": "有參數沒有動過",
}
"""What an alert says, in the reader's language; others are shown as they are."""


MOST_ALERTS = 12


def alert_lines(history: History) -> list[str]:
    """第 412 步：損失突然跳高。… The first dozen, and how many more there were."""
    lines = [f"第 {a.step:,} 步：{ALERTS.get(a.what, a.what)}。{a.text}" for a in history.alerts[:MOST_ALERTS]]
    left = len(history.alerts) - len(lines)
    return [*lines, f"另外還有 {left:,} 則警示。"] if left else lines


@dataclass(frozen=True)
class Frame:
    """Where the data lies on the picture."""

    width: int
    height: int
    right: int
    x_axis: Axis
    y_axis: Axis

    def x(self, value: float) -> float:
        return LEFT + (self.width - LEFT - self.right) * self.x_axis.share(value)

    def y(self, value: float) -> float:
        return TOP + (self.height - TOP - BOTTOM) * (1 - self.y_axis.share(value))


def draw_curve(curves: Sequence[Curve], measure: Measure, by: By, width: int, height: int, style: str = "") -> str:
    """An `<svg>` of exactly this size, or "" when nothing was measured. style: further classes."""
    curves = [curve for curve in curves if numbers(curve.points) or numbers(curve.dots)]
    if not curves:
        return ""
    several = len(curves) > 1
    x_axis = x_axis_of(curves)
    counts = [num_bins(len(curve.points), MOST_BINS * width // 720) for curve in curves]
    lines = [bins(curve.points, x_axis, most) for curve, most in zip(curves, counts)]
    frame = Frame(width, height, 34 if several else 18, x_axis, y_axis_of(curves, lines))
    parts = [_axes(frame, by, about=height // 42)]
    for place, (curve, line, most) in enumerate(zip(curves, lines, counts)):
        colour = f" c{place % NUM_COLOURS}" if several else ""
        if not several:
            parts.append(f'<path class="band" d="{_band(line, most, frame)}"/>')
        parts.append(f'<path class="line{colour}" d="{_path([(b.x, b.median) for b in line], frame)}"/>')
        parts.append(_marks(curve, frame))
        parts.append(_dots(numbers(curve.dots), frame, colour, named=not several))
    if several:
        parts.append(_ends(curves, lines, frame))
    return _svg(width, height, style, f"學習曲線：{MEASURES[measure]}", "".join(parts))


def draw_rates(rates: Sequence[Point], by: By, width: int, height: int, style: str = "") -> str:
    """The learning rate's schedule below a curve, on an axis of its own; "" when it is not known."""
    known = numbers(rates)
    if not known:
        return ""
    x_axis = x_axis_of([Curve("", tuple(known))])
    frame = Frame(width, height, 18, x_axis, Axis(0.0, max(1.0, max(y for _, y in known))))
    line = [(b.x, b.median) for b in bins(known, x_axis, num_bins(len(known), MOST_BINS))]
    inside = f'{_axes(frame, by, about=2)}<path class="line rate" d="{_path(line, frame)}"/>'
    return _svg(width, height, style, "學習率，與最高時相比", inside)


def _svg(width: int, height: int, style: str, label: str, inside: str) -> str:
    return (
        f'<svg class="curve{" " + style if style else ""}" viewBox="0 0 {width} {height}" width="{width}" '
        f'height="{height}" role="img" aria-label="{escape(label)}">{inside}</svg>'
    )


def _path(points: Sequence[Point], frame: Frame) -> str:
    return "M" + "L".join(f"{frame.x(x):.1f} {frame.y(y):.1f}" for x, y in points) if points else ""


def _band(line: Sequence[Bin], most: int, frame: Frame) -> str:
    """From the least to the greatest value of each bin, one area; "" where every bin is a single step."""
    if all(b.low == b.high for b in line):
        return ""
    above = [f"{frame.x(b.x):.1f} {frame.y(b.high):.1f}" for b in line]
    below = [f"{frame.x(b.x):.1f} {frame.y(b.low):.1f}" for b in reversed(line)]
    return "M" + "L".join(above + below) + "Z"


def _axes(frame: Frame, by: By, about: int) -> str:
    parts = []
    right, bottom = frame.width - frame.right, frame.height - BOTTOM
    values = frame.y_axis.ticks(about)
    for value, label in zip(values, labels(values)):
        y = frame.y(value)
        parts.append(f'<path class="grid" d="M{LEFT} {y:.1f}H{right}"/>')
        parts.append(f'<text class="tick" x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{label}</text>')
    title, form, unit = _x_words(by, frame.x_axis.high)
    for value in Axis(frame.x_axis.low / unit, frame.x_axis.high / unit).ticks(6 if frame.width > 500 else 4):
        x = frame.x(value * unit)
        anchor = "end" if x > right - 12 else "middle"
        parts.append(f'<text class="tick" x="{x:.1f}" y="{bottom + 18}" text-anchor="{anchor}">{form(value)}</text>')
    parts.append(f'<path class="axis" d="M{LEFT} {bottom}H{right}"/>')
    parts.append(f'<text class="tick" x="{right}" y="{bottom + 36}" text-anchor="end">{title}</text>')
    return "".join(parts)


def _x_words(by: By, longest: float) -> tuple[str, Callable[[float], str], float]:
    """(title, how a number is written, its unit)"""
    if by == "steps":
        return "步", "{:,.0f}".format, 1.0
    if by == "tokens":
        return "訓練過的詞元", count, 1.0
    return ("訓練時間（分鐘）", "{:g}".format, 1.0) if longest >= 2 else ("訓練時間（秒）", "{:g}".format, 1 / 60)


def _dots(dots: Sequence[Point], frame: Frame, colour: str, named: bool) -> str:
    """Held-out points; as many with their value as have room, the first and the last in any case."""
    parts = []
    places = [(frame.x(x), frame.y(y), y) for x, y in dots]
    shown = _with_room([x for x, _, _ in places]) if named else set()
    for place, (x, y, value) in enumerate(places):
        parts.append(f'<circle class="dot{colour}" cx="{x:.1f}" cy="{y:.1f}" r="{5 if named else 4}"/>')
        if place in shown:
            anchor = "start" if place == 0 else ("end" if place == len(places) - 1 else "middle")
            parts.append(
                f'<text class="value" x="{x + (6 if anchor == "start" else 0):.1f}" y="{y - 11:.1f}" '
                f'text-anchor="{anchor}">{value:.2f}</text>'
            )
    return "".join(parts)


def _with_room(xs: Sequence[float]) -> set[int]:
    """Which of these places can carry a label: both ends, and between them what touches no other."""
    if not xs:
        return set()
    last = len(xs) - 1
    shown = {last} if xs[last] - xs[0] < LABEL_WIDTH else {0, last}
    before = xs[0] + LABEL_WIDTH / 2  # the first one begins at its point instead of being centred on it
    for place in range(1, last):
        if xs[place] - before >= LABEL_WIDTH and xs[last] - LABEL_WIDTH / 2 - xs[place] >= LABEL_WIDTH:
            shown.add(place)
            before = xs[place]
    return shown


def _marks(curve: Curve, frame: Frame) -> str:
    """Alerts as dashed lines with an exclamation mark; those that fall together are one line."""
    at: dict[int, list[str]] = {}
    for x, what in curve.marks:
        at.setdefault(round(frame.x(x) / 6), []).append(ALERTS.get(what, what))
    parts = []
    for place, whats in sorted(at.items()):
        x, told = place * 6, "、".join(dict.fromkeys(whats))
        parts.append(
            f'<g class="mark"><title>{escape(told)}</title><path d="M{x} {TOP}V{frame.height - BOTTOM}"/>'
            f'<text x="{x}" y="{TOP - 6}" text-anchor="middle">!</text></g>'
        )
    return "".join(parts)


def _ends(curves: Sequence[Curve], lines: Sequence[Sequence[Bin]], frame: Frame) -> str:
    """Each curve's letter right of its last point, pushed down where two would meet."""
    ends = []
    for place, (curve, line) in enumerate(zip(curves, lines)):
        last = [(line[-1].x, line[-1].median)] if line else numbers(curve.dots)[-1:]
        farthest = max((x for x, _ in [*last, *numbers(curve.dots)]), default=0.0)
        ends += [(frame.y(y), frame.x(farthest), place) for _, y in last]
    parts, above = [], -float(LABEL_HEIGHT)
    for y, x, place in sorted(ends):
        above = max(y, above + LABEL_HEIGHT)
        letter = LETTERS[place % len(LETTERS)]
        parts.append(f'<text class="end c{place % NUM_COLOURS}" x="{x + 10:.1f}" y="{above + 5:.1f}">{letter}</text>')
    return "".join(parts)
