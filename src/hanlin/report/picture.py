"""The life cycle as one picture: wide for a screen, tall for a phone. Steps that were not made are dashed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from hanlin.report.stages import Stage


@dataclass(frozen=True)
class Box:
    """One station: its name, its figure, and whether it was reached."""

    title: str
    figure: str
    made: bool = True


MEASURED = ("預訓練", "微調", "量化")
"""What the evaluation's bracket spans."""


def stations(stages: Sequence[Stage]) -> list[Box]:
    """文字 → 斷詞 → 預訓練 → 微調 → 量化 → 對話, with this run's figures."""
    key: dict[str, str] = {}
    for stage in stages:
        key.setdefault("questions" if stage.step.is_chat_corpus else stage.step.room, stage.key)
    boxes = [
        ("收集", "collect"),
        ("斷詞", "tokenize"),
        ("預訓練", "pretrain"),
        ("微調", "finetune"),
        ("量化", "quantize"),
    ]
    line = [Box(title, key.get(room, "未做"), room in key) for title, room in boxes]
    return [*line, Box("對話", "聊天網頁" if "finetune" in key else "未做", "finetune" in key)]


def draw_wide(boxes: Sequence[Box], evaluated: bool) -> str:
    """760 wide: stations from left to right, the evaluation as a bracket below."""
    width, wide, high, top = 760, 108, 72, 8
    gap = (width - 2 - len(boxes) * wide) / (len(boxes) - 1)
    parts, lefts = [], {}
    for place, box in enumerate(boxes):
        x = 1 + place * (wide + gap)
        lefts[box.title] = x
        parts.append(_station(box, x, top, wide, high))
        if place:
            parts.append(_arrow(x - gap + 3, top + high / 2, x - 4, top + high / 2))
    first, last = lefts[MEASURED[0]], lefts[MEASURED[-1]] + wide
    y = top + high + 22
    style = "bracket" if evaluated else "bracket missing"
    parts.append(f'<path class="{style}" d="M{first:.0f} {y - 12}V{y}H{last:.0f}V{y - 12}"/>')
    label = "評估：每一步前後，用同一份沒看過的考題量一次"
    parts.append(f'<text class="note" x="{(first + last) / 2:.0f}" y="{y + 22}" text-anchor="middle">{label}</text>')
    return _svg("wide", width, y + 32, "".join(parts))


def draw_tall(boxes: Sequence[Box], evaluated: bool) -> str:
    """320 wide: stations from top to bottom, the evaluation as a bracket on the right."""
    width, wide, high, gap = 320, 262, 50, 24
    parts, tops = [], {}
    for place, box in enumerate(boxes):
        y = 1 + place * (high + gap)
        tops[box.title] = y
        parts.append(_station_in_a_row(box, 1, y, wide, high))
        if place:
            parts.append(_arrow(wide / 2, y - gap + 3, wide / 2, y - 4))
    first, last = tops[MEASURED[0]], tops[MEASURED[-1]] + high
    style = "bracket" if evaluated else "bracket missing"
    parts.append(f'<path class="{style}" d="M{wide + 10} {first}H{wide + 22}V{last}H{wide + 10}"/>')
    middle = (first + last) / 2
    for place, character in enumerate("評估"):
        parts.append(
            f'<text class="note" x="{wide + 42}" y="{middle - 2 + 20 * place}" text-anchor="middle">{character}</text>'
        )
    return _svg("tall", width, 1 + len(boxes) * (high + gap) - gap + 2, "".join(parts))


def _station(box: Box, x: float, y: float, wide: float, high: float) -> str:
    return (
        f'<g class="station{"" if box.made else " missing"}">'
        f'<rect x="{x:.0f}" y="{y}" width="{wide}" height="{high}" rx="12"/>'
        f'<text class="name" x="{x + wide / 2:.0f}" y="{y + 31}" text-anchor="middle">{box.title}</text>'
        f'<text class="figure" x="{x + wide / 2:.0f}" y="{y + 54}" text-anchor="middle">{escape(box.figure)}</text></g>'
    )


def _station_in_a_row(box: Box, x: float, y: float, wide: float, high: float) -> str:
    return (
        f'<g class="station{"" if box.made else " missing"}">'
        f'<rect x="{x:.0f}" y="{y}" width="{wide}" height="{high}" rx="12"/>'
        f'<text class="name" x="{x + 18:.0f}" y="{y + 31}">{box.title}</text>'
        f'<text class="figure" x="{x + wide - 18:.0f}" y="{y + 30}" text-anchor="end">{escape(box.figure)}</text></g>'
    )


def _arrow(x1: float, y1: float, x2: float, y2: float) -> str:
    """A line with an open head, along one axis."""
    head = f"M{x2 - 5:.0f} {y2 - 5:.0f}L{x2:.0f} {y2:.0f}L{x2 - 5:.0f} {y2 + 5:.0f}"
    if x1 == x2:
        head = f"M{x2 - 5:.0f} {y2 - 5:.0f}L{x2:.0f} {y2:.0f}L{x2 + 5:.0f} {y2 - 5:.0f}"
    return f'<path class="arrow" d="M{x1:.0f} {y1:.0f}L{x2:.0f} {y2:.0f}{head}"/>'


def _svg(name: str, width: int, height: float, inside: str) -> str:
    return (
        f'<svg class="cycle {name}" viewBox="0 0 {width} {height:.0f}" width="{width}" height="{height:.0f}" '
        f'role="img" aria-label="生命週期：收集、斷詞、預訓練、微調、量化、對話">{inside}</svg>'
    )
