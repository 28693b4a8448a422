"""Which rows are held out: a pure function of (seed, group), so rows added later never move the others. Or the end of
all text, as published splits have it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from hanlin.core.text.documents import Row, Split
from hanlin.make.collect.reading.passages import cut

SINGLE_GROUP_PARTS = 8
"""A corpus of one document only is cut into about this many passages, so that one can be held out."""

_LEAST_PASSAGE_CHARS = 200


def place(group: str, seed: int) -> float:
    """The group's place in [0, 1): held out if it is below the held-out share. Uniform over groups."""
    return int.from_bytes(hashlib.sha256(f"{seed}\0{group}".encode()).digest()[:8], "big") / 2**64


class Assignment:
    """Split of each row; `settle`, once all groups are noted, names those that must move so that no split is empty."""

    def __init__(self, seed: int, share: float):
        self.seed, self.share = seed, share
        self.ends: list[tuple[float, str]] = []
        """The groups with the lowest and the highest place, where there was one."""

    def split_of(self, row: Row) -> Split:
        if row.reason:
            return "rejected"
        return "heldout" if place(row.group, self.seed) < self.share else "train"

    def note_groups(self, rows: Iterable[Row]) -> None:
        """The groups of the rows that are kept."""
        self.note([(place(group, self.seed), group) for group in {row.group for row in rows if not row.reason}])

    def note(self, places: Iterable[tuple[float, str]]) -> None:
        """Groups that were seen, here or elsewhere: only the first and the last of them are remembered."""
        ends = [*self.ends, *((place, group) for place, group in places)]
        self.ends = [min(ends), max(ends)] if ends else []

    @property
    def single_group(self) -> bool:
        return bool(self.ends) and self.ends[0] == self.ends[1]

    def settle(self) -> dict[str, Split]:
        """Groups to move: {} if both splits have rows already, or if nothing is to be held out."""
        if self.share == 0 or self.single_group or not self.ends:
            return {}
        (lowest, first), (highest, last) = self.ends
        if lowest >= self.share:
            return {first: "heldout"}
        return {last: "train"} if highest < self.share else {}


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
    rows = list(rows)
    assignment.note_groups(rows)
    moved = assignment.settle()
    return [(row, moved.get(row.group, split)) for row in rows for split in [assignment.split_of(row)]]


def split_before_end(rows: Iterable[Row], characters: int, share: float) -> Iterator[tuple[Row, Split]]:
    """Rows with their split: the last `share` of all `characters` is held out.

    A document across the border is cut there, into two groups. A conversation across it, and what belongs to a group
    that began before it, is trained on.
    """
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
