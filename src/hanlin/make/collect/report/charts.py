"""Bars and histograms as HTML: they fit any width, and their numbers are text that can be read, copied and searched."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from hanlin.core.run.numbers import count, percent


@dataclass(frozen=True)
class Bar:
    """One bar. label, figures: HTML. parts: [(style, how much)], from the left."""

    label: str
    parts: tuple[tuple[str, float], ...]
    figures: str = ""
    below: str = ""

    @property
    def length(self) -> float:
        return sum(part for _, part in self.parts)


def bars(rows: Sequence[Bar], style: str = "") -> str:
    """Bars below each other, the longest as wide as there is room."""
    longest = max((bar.length for bar in rows), default=0) or 1
    return f'<div class="bars {style}">{"".join(_bar(bar, longest) for bar in rows)}</div>' if rows else ""


def _bar(bar: Bar, longest: float) -> str:
    parts = "".join(
        f'<i class="{style}" style="width:{100 * part / longest:.2f}%"></i>' for style, part in bar.parts if part
    )
    below = f'<div class="below">{bar.below}</div>' if bar.below else ""
    return (
        f'<div class="bar"><div class="label">{bar.label}</div><div class="track">{parts}</div>'
        f'<div class="figures">{bar.figures}</div>{below}</div>'
    )


def rows_and_share(rows: int, total: int) -> str:
    return f"<b>{rows:,}</b> <small>{_share(rows, total)}</small>"


def _share(rows: int, total: int) -> str:
    if 0 < rows < total / 1000:
        return "&lt;0.1 %"
    return percent(rows / total) if total else ""


def histogram(edges: Sequence[float], kept: Sequence[int], dropped: Sequence[int]) -> str:
    """Columns side by side, kept rows below and dropped ones on top, with the numbers of their edges."""
    highest = max((a + b for a, b in zip(kept, dropped)), default=0) or 1
    columns = []
    for place, (inside, outside) in enumerate(zip(kept, dropped)):
        said = f"{_number(edges[place])} – {_number(edges[place + 1])}：{inside:,}"
        said += f" + {outside:,}" if outside else ""
        parts = "".join(
            f'<i class="{style}" style="height:{max(100 * rows / highest, 1):.2f}%"></i>'
            for style, rows in (("out", outside), ("in", inside))
            if rows
        )
        columns.append(f'<span title="{escape(said)}">{parts}</span>')
    middle = edges[len(edges) // 2] if len(edges) > 2 else None
    marks = [_number(value, max(map(abs, edges))) for value in (edges[0], middle, edges[-1]) if value is not None]
    shown = "".join(f"<span>{mark}</span>" for mark in marks)
    label = f"{marks[0]} – {marks[-1]}"
    return (
        f'<div class="histogram" role="img" aria-label="{escape(label)}"><div class="columns">{"".join(columns)}</div>'
        f'<div class="marks">{shown}</div></div>'
    )


def _number(value: float, of: float = 0.0) -> str:
    """Three digits at most; 0 where that is next to nothing beside `of`."""
    if value == int(value):
        return f"{value:,.0f}" if abs(value) < 1e6 else count(value).replace(" ", "")
    return "0" if abs(value) < of / 1000 else f"{value:.3g}"


def span_of(start: int, end: int | None) -> str:
    """0 · 10–19 · 1,000–1,999 · 1,000 萬以上"""
    if end is None:
        return f"{_number(start)} 以上"
    return _number(start) if end == start + 1 else f"{_number(start)}–{_number(end - 1)}"
