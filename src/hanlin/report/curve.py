"""The training curve as SVG: bits per character over time. Colours come from the page's CSS: light and dark alike."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from hanlin.report.facts import Learning

Point = tuple[float, float]

MOST_POINTS = 240
"""Drawn points: more would only make the page heavy."""

LEFT, RIGHT, TOP, BOTTOM = 44, 18, 16, 40


@dataclass(frozen=True)
class Frame:
    """Where the data lies on the picture: seconds from 0 to `longest`, bits from `low` to `high`."""

    width: int
    height: int
    longest: float
    low: float
    high: float

    def x(self, seconds: float) -> float:
        return LEFT + (self.width - LEFT - RIGHT) * seconds / self.longest

    def y(self, bits: float) -> float:
        share = (self.high - bits) / (self.high - self.low)
        return TOP + (self.height - TOP - BOTTOM) * min(1.0, max(0.0, share))


def draw_curve(learning: Learning, width: int, height: int) -> str:
    """An `<svg>` of exactly this size, or "" when nothing was measured."""
    smooth = thin(smoothed(learning.steps))
    held = [(point.seconds, point.bpc) for point in learning.heldout]
    if not smooth and not held:
        return ""
    frame = _frame(smooth, held, width, height)
    raw = f'<path class="raw" d="{_path(thin(learning.steps), frame)}"/>' if learning.steps else ""
    line = f'<path class="line" d="{_path(smooth, frame)}"/>' if smooth else ""
    return (
        f'<svg class="curve" viewBox="0 0 {width} {height}" width="{width}" height="{height}" role="img" '
        f'aria-label="學習曲線：每字元位元數隨訓練時間下降">'
        f"{_axes(frame)}{raw}{line}{_dots(held, frame)}</svg>"
    )


def smoothed(points: Sequence[Point]) -> list[Point]:
    """Mean over a window of neighbours, about a fortieth of the run: it does not lag, as a running average would."""
    reach = max(1, len(points) // 80)
    smooth = []
    for place, (seconds, _) in enumerate(points):
        near = min(reach, place, len(points) - 1 - place)
        window = points[place - near : place + near + 1]
        smooth.append((seconds, sum(bits for _, bits in window) / len(window)))
    return smooth


def thin(points: Sequence[Point], most: int = MOST_POINTS) -> list[Point]:
    """Every n-th point and the last one."""
    stride = max(1, math.ceil(len(points) / most))
    kept = list(points[::stride])
    return kept if not points or kept[-1] == points[-1] else [*kept, points[-1]]


def ticks(low: float, high: float, about: int) -> list[float]:
    """Round numbers between low and high, roughly `about` of them: steps of 1, 2 or 5 times a power of ten."""
    rough = (high - low) / max(1, about)
    power = 10 ** math.floor(math.log10(rough)) if rough > 0 else 1
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough or factor == 10)
    first = math.ceil(low / step - 1e-9)
    return [round(step * place, 10) for place in range(first, math.floor(high / step + 1e-9) + 1)]


def _frame(smooth: Sequence[Point], held: Sequence[Point], width: int, height: int) -> Frame:
    both = [*smooth, *held]
    bits = [value for _, value in both if math.isfinite(value)] or [0.0]
    low, high = math.floor(2 * min(bits) - 0.2) / 2, math.ceil(2 * max(bits) + 0.2) / 2
    return Frame(width, height, max(1e-9, *(seconds for seconds, _ in both), 0.0), low, max(high, low + 0.5))


def _path(points: Sequence[Point], frame: Frame) -> str:
    finite = [(seconds, bits) for seconds, bits in points if math.isfinite(bits)]
    return "M" + "L".join(f"{frame.x(seconds):.1f} {frame.y(bits):.1f}" for seconds, bits in finite) if finite else ""


def _axes(frame: Frame) -> str:
    parts = []
    right, bottom = frame.width - RIGHT, frame.height - BOTTOM
    for bits in ticks(frame.low, frame.high, 5):
        y = frame.y(bits)
        parts.append(f'<path class="grid" d="M{LEFT} {y:.1f}H{right}"/>')
        parts.append(f'<text class="tick" x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{bits:g}</text>')
    minutes = frame.longest >= 120
    unit = 60 if minutes else 1
    for value in ticks(0, frame.longest / unit, 6 if frame.width > 500 else 4):
        x = frame.x(value * unit)
        parts.append(f'<text class="tick" x="{x:.1f}" y="{bottom + 18}" text-anchor="middle">{value:g}</text>')
    parts.append(f'<path class="axis" d="M{LEFT} {bottom}H{right}"/>')
    title = f"訓練時間（{'分鐘' if minutes else '秒'}）"
    parts.append(f'<text class="tick" x="{right}" y="{bottom + 36}" text-anchor="end">{title}</text>')
    return "".join(parts)


def _dots(held: Sequence[Point], frame: Frame) -> str:
    """Held-out points with their value, above the point so that the line does not run through it."""
    parts = []
    for place, (seconds, bits) in enumerate(held):
        x, y = frame.x(seconds), frame.y(bits)
        anchor = "start" if place == 0 else ("end" if place == len(held) - 1 else "middle")
        parts.append(f'<circle class="dot" cx="{x:.1f}" cy="{y:.1f}" r="5"/>')
        parts.append(
            f'<text class="value" x="{x + (6 if anchor == "start" else 0):.1f}" y="{y - 11:.1f}" '
            f'text-anchor="{anchor}">{bits:.2f}</text>'
        )
    return "".join(parts)
