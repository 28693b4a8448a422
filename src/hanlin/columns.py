"""Text in columns that stand below each other on a terminal, full-width characters too."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence


def display_width(text: str) -> int:
    """Columns in a terminal: a full-width character takes two, a combining one none."""
    return sum(map(_character_width, text))


def _character_width(character: str) -> int:
    if unicodedata.combining(character):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def pad(text: str, columns: int, right: bool = False) -> str:
    space = " " * max(0, columns - display_width(text))
    return space + text if right else text + space


def cut(text: str, columns: int) -> str:
    """The beginning that fits, with an ellipsis where something is left out."""
    if display_width(text) <= columns:
        return text
    kept, width = "", 0
    for character in text:
        width += _character_width(character)
        if width > columns - 1:
            break
        kept += character
    return kept + "…" if columns > 0 else ""


def one_line(text: str) -> str:
    """Text from a model or a file on one line, without what a terminal would obey (escape sequences)."""
    joined = " ".join(text.split())
    return "".join(c if c.isprintable() or c == " " else "�" for c in joined)


def aligned(rows: Sequence[Sequence[str]], right: frozenset[int] = frozenset(), gap: str = "  ") -> list[str]:
    """A line for each row; columns whose place is in `right` end below each other, the others begin so. A column that
    is empty everywhere takes no room."""
    widths = [max(map(display_width, column)) for column in zip(*rows)]
    return [
        gap.join(pad(cell, widths[at], at in right) for at, cell in enumerate(row) if widths[at]).rstrip()
        for row in rows
    ]
