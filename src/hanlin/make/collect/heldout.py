"""Which rows are held out: a pure function of (seed, group), so rows added later never move the others. Or the end of
all text, as published splits have it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from hanlin.core.text.documents import Row, Split
from hanlin.make.collect.passages import cut

SINGLE_GROUP_PARTS = 8
"""A corpus of one document only is cut into about this many passages, so that one can be held out."""

_LEAST_PASSAGE_CHARS = 200


def place(group: str, seed: int) -> float:
    """The group's place in [0, 1): held out if it is below the held-out share. Uniform over groups."""
    return int.from_bytes(hashlib.sha256(f"{seed}\0{group}".encode()).digest()[:8], "big") / 2**64


class Assignment:
    """Split of each row; `settle` afterwards names the groups that must move so that neither split is empty."""

    def __init__(self, seed: int, share: float):
        self.seed, self.share = seed, share
        self._lowest: tuple[float, str] = (2.0, "")
        self._highest: tuple[float, str] = (-1.0, "")

    def split_of(self, row: Row) -> Split:
        if row.reason:
            return "rejected"
        key = place(row.group, self.seed)
        self._lowest = min(self._lowest, (key, row.group))
        self._highest = max(self._highest, (key, row.group))
        return "heldout" if key < self.share else "train"

    @property
    def single_group(self) -> bool:
        return self._lowest == self._highest

    def settle(self) -> dict[str, Split]:
        """Groups to move: {} if both splits have rows already, or if nothing is to be held out."""
        if self.share == 0 or self.single_group or self._highest[0] < 0:
            return {}
        if self._lowest[0] >= self.share:
            return {self._lowest[1]: "heldout"}
        return {self._highest[1]: "train"} if self._highest[0] < self.share else {}


def cut_single_group(rows: Sequence[Row]) -> Iterator[Row]:
    """Passages of the documents of a corpus with one group only, each its own group. Conversations stay whole."""
    characters = sum(row.characters for row in rows)
    passage_chars = max(_LEAST_PASSAGE_CHARS, characters // SINGLE_GROUP_PARTS)
    for row in rows:
        passages = cut(row.text, passage_chars) if row.kind == "text" else []
        if len(passages) < 2:
            yield row
            continue
        for number, passage in enumerate(passages, start=1):
            yield replace(row, id=f"{row.id}~{number}", group=f"{row.group}~{number}", text=passage.strip())


def assign(rows: Iterable[Row], assignment: Assignment) -> list[tuple[Row, Split]]:
    """Rows with their split, both splits filled where there are at least two groups."""
    placed = [(row, assignment.split_of(row)) for row in rows]
    moved = assignment.settle()
    return [(row, moved.get(row.group, split)) for row, split in placed]


def split_before_end(rows: Sequence[Row], share: float) -> Iterator[tuple[Row, Split]]:
    """Rows with their split: the last `share` of all characters is held out.

    A document across the border is cut there, into two groups. A conversation across it, and what belongs to a group
    that began before it, is trained on.
    """
    characters = sum(row.characters for row in rows)
    border = characters - round(characters * share)
    begun: set[str] = set()
    end = 0
    for row in rows:
        start, end = end, end + row.characters
        if end <= border or row.group in begun or (row.messages and start < border):
            begun.add(row.group)
            yield row, "train"
        elif start >= border:
            yield row, "heldout"
        else:
            parts: tuple[tuple[str, Split], ...] = (
                (row.text[: border - start], "train"),
                (row.text[border - start :], "heldout"),
            )
            for number, (text, split) in enumerate(parts, start=1):
                yield replace(row, id=f"{row.id}~{number}", group=f"{row.group}~{number}", text=text), split
