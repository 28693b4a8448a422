"""Lines that many rows have: menus, notices, letterheads, quoted forms. CCNet (Wenzek et al. 2019) drops every repeated
paragraph, RefinedWeb (Penedo et al. 2023) lines; here only those that occur in many rows, and the row stays.

Two lines are the same when they read the same: case, width, white space and punctuation make no difference. A paragraph
is a line. Lines shorter than `least_chars` letters and digits are left alone: short ones repeat by nature.

Memory: 3 bytes a line while it decides, and 0.5 GB for sorting at most (tally.py), however large the corpus.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

import numpy as np

from hanlin.core.text.documents import Row
from hanlin.make.collect.options.repetition import Lines
from hanlin.make.collect.steps.matching import units
from hanlin.make.collect.steps.matching.parts import texts_of, with_texts
from hanlin.make.collect.steps.matching.tally import tally
from hanlin.make.collect.steps.step import Context, Findings, Survey


def make(options: Lines, context: Context) -> RepeatedLines:
    return RepeatedLines(options)


class RepeatedLines(Survey):
    def __init__(self, options: Lines):
        self.options = options

    def look(self, rows: list[Row]) -> Findings:
        """The hashes of each row's different lines, row by row, in the order of the lines."""
        hashes, row_of, _ = self._lines(rows)
        first = _first_in_row(hashes, row_of)
        return {"hash": hashes[first], "lines": np.array([len(hashes)])}

    def decide(self, looks: Sequence[Findings]) -> Iterator[Findings]:
        """remove: for each of look's hashes, whether its line goes; repeated: whether too many rows have it."""
        counts, first = tally(looks, "hash")
        place = 0
        for look in looks:
            here = slice(place, place + len(look["hash"]))
            place = here.stop
            repeated = counts[here] > self.options.rows
            yield {"repeated": repeated, "remove": repeated & ~first[here] if self.options.keep_first else repeated}

    def apply(self, rows: list[Row], verdict: Findings) -> Iterable[Row]:
        hashes, row_of, lines = self._lines(rows)
        first = _first_in_row(hashes, row_of)
        # A row's second line of a kind shares the verdict of its first one.
        verdict_of = _same_in_row(hashes, row_of, first)
        remove, repeated = verdict["remove"][verdict_of], verdict["repeated"][verdict_of]
        borders = np.searchsorted(row_of, np.arange(len(rows) + 1))
        for number, row in enumerate(rows):
            here = slice(borders[number], borders[number + 1])
            yield self._judged(row, lines[here], remove[here], repeated[here]) if repeated[here].any() else row

    def _judged(self, row: Row, lines: list[tuple[int, int]], remove: np.ndarray, repeated: np.ndarray) -> Row:
        """lines: (number of the text, number of the line in it) of each line that was looked at."""
        texts = [text.split("\n") for text in texts_of(row)]
        gone = {line for line, out in zip(lines, remove.tolist()) if out}
        gone = gone if self.options.do == "remove" else set()
        row = replace(row, notes={**row.notes, "lines": {"repeated": int(repeated.sum()), "removed": len(gone)}})
        if not gone:
            return row
        kept = [
            "\n".join(line for place, line in enumerate(text) if (number, place) not in gone).strip()
            for number, text in enumerate(texts)
        ]
        characters = sum(len(texts[number][place]) for number, place in gone)
        share = characters / max(1, row.characters)
        emptied = any(not left and any(old) for left, old in zip(kept, texts))
        if share > self.options.max_share or emptied:
            return replace(row, reason=f"repeated lines: {share:.0%} of its characters")
        return with_texts(row, kept)

    def _lines(self, rows: list[Row]) -> tuple[np.ndarray, np.ndarray, list[tuple[int, int]]]:
        """(hash, row) of every line that is long enough, and (its text, its place in it)."""
        texts: list[str] = []
        row_of: list[int] = []
        places: list[tuple[int, int]] = []
        for number, row in enumerate(rows):
            for part, text in enumerate(texts_of(row)):
                for place, line in enumerate(text.split("\n")):
                    if len(line) >= self.options.least_chars:
                        texts.append(line)
                        row_of.append(number)
                        places.append((part, place))
        found = units.characters(texts)
        long_enough = np.flatnonzero(found.counts >= self.options.least_chars)
        hashes = units.whole(found)[long_enough]
        return hashes, np.array(row_of, np.int64)[long_enough], [places[i] for i in long_enough.tolist()]


def _first_in_row(hashes: np.ndarray, row_of: np.ndarray) -> np.ndarray:
    """Places of the first line of each kind in each row, in order."""
    order = np.lexsort((np.arange(len(hashes)), hashes, row_of))
    new = np.ones(len(order), bool)
    new[1:] = (hashes[order][1:] != hashes[order][:-1]) | (row_of[order][1:] != row_of[order][:-1])
    return np.sort(order[new])


def _same_in_row(hashes: np.ndarray, row_of: np.ndarray, first: np.ndarray) -> np.ndarray:
    """For each line, the number in `first` of the line of its row that says the same."""
    number = {
        (row, code): place for place, (row, code) in enumerate(zip(row_of[first].tolist(), hashes[first].tolist()))
    }
    return np.array([number[key] for key in zip(row_of.tolist(), hashes.tolist())], np.int64)
