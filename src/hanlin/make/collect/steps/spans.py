"""Long spans of text that occur again anywhere in the corpus: quoted statutes, copied passages, templates filled in.
The first occurrence stays, later ones are cut out. Lee et al. 2021, https://arxiv.org/abs/2107.06499.

They use a suffix array of the whole corpus; this is a hashed pass that streams. Of every text, winnowing (Schleimer,
Wilkerson, Aiken 2003) selects some of its k-grams: of each `sample` k-grams in a row the one with the smallest hash.
What is selected depends on those characters alone, so two equal spans of L = k + sample - 1 characters, wherever they
stand, select the same k-gram within them. Hence, for least_chars = L:

    every span of L characters or more that occurs twice is found    (the guarantee of the paper)
    nothing is cut that is not part of a repeated span of at least k = L - sample + 1 characters

and of a repeated span at most sample - 1 characters are left at each end. sample=1 looks at every position: then
exactly the characters of repeated spans of L or more are cut, for 8 bytes a character instead of 2 · 8 / (sample + 1).

Characters are compared as everywhere here: case, width, white space and punctuation make no difference.

Memory: 3 bytes for each selected k-gram while it decides (0.7 a character with sample=8), and 0.5 GB at most
for sorting.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

import numpy as np

from hanlin.core.text.documents import Row
from hanlin.make.collect.options.repetition import Spans
from hanlin.make.collect.steps.matching import units
from hanlin.make.collect.steps.matching.parts import says_nothing, texts_of, with_texts, without
from hanlin.make.collect.steps.matching.tally import tally
from hanlin.make.collect.steps.step import Context, Findings, Survey


def make(options: Spans, context: Context) -> RepeatedSpans:
    return RepeatedSpans(options)


class RepeatedSpans(Survey):
    def __init__(self, options: Spans):
        self.options = options
        self.k = options.least_chars - options.sample + 1

    def look(self, rows: list[Row]) -> Findings:
        return {"hash": self._selected(units.characters([text for row in rows for text in texts_of(row)]))[0]}

    def decide(self, looks: Sequence[Findings]) -> Iterator[Findings]:
        """again: for each selected k-gram, whether it occurred before."""
        _, first = tally(looks, "hash")
        place = 0
        for look in looks:
            yield {"again": ~first[place : place + len(look["hash"])]}
            place += len(look["hash"])

    def apply(self, rows: list[Row], verdict: Findings) -> Iterable[Row]:
        texts = [texts_of(row) for row in rows]
        found = units.characters([text for part in texts for text in part])
        starts = self._selected(found)[1][verdict["again"]]
        spans = self._in_texts(found, starts)
        number = 0
        for row, parts in zip(rows, texts):
            here = [spans.get(number + place, []) for place in range(len(parts))]
            number += len(parts)
            yield self._judged(row, parts, here) if any(here) else row

    def _selected(self, found: units.Units) -> tuple[np.ndarray, np.ndarray]:
        """(hashes, places of their first unit) of the k-grams that winnowing selects, in order."""
        hashes = units.mixed(units.windows(found.codes, self.k))
        counts = np.maximum(found.counts - self.k + 1, 0)
        within = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
        places = within + np.repeat(found.offsets[:-1], counts)
        chosen = winnow(hashes[places], counts, self.options.sample)
        return hashes[places[chosen]], places[chosen]

    def _in_texts(self, found: units.Units, starts: np.ndarray) -> dict[int, list[tuple[int, int]]]:
        """{text: its spans (begin, end) in characters}, where k-grams that overlap or touch are one span."""
        if not len(starts):
            return {}
        text_of = np.searchsorted(found.offsets, starts, side="right") - 1
        new = np.ones(len(starts), bool)
        new[1:] = (starts[1:] > starts[:-1] + self.k) | (text_of[1:] != text_of[:-1])
        begins = found.begins[starts[new]]
        ends = found.ends[starts[np.append(np.flatnonzero(new)[1:] - 1, len(starts) - 1)] + self.k - 1]
        spans: dict[int, list[tuple[int, int]]] = {}
        for text, begin, end in zip(text_of[new].tolist(), begins.tolist(), ends.tolist()):
            spans.setdefault(text, []).append((begin, end))
        return spans

    def _judged(self, row: Row, texts: list[str], spans: list[list[tuple[int, int]]]) -> Row:
        characters = sum(end - begin for part in spans for begin, end in part)
        share = characters / max(1, sum(map(len, texts)))
        row = replace(row, notes={**row.notes, "spans": round(share, 4)})
        kept = [without(text, cuts).strip() for text, cuts in zip(texts, spans)]
        emptied = any(cuts and says_nothing(left) for left, cuts in zip(kept, spans))
        if share > self.options.max_share or emptied:
            return replace(row, reason=f"repeated spans: {share:.0%} of its characters")
        return with_texts(row, kept)


def winnow(hashes: np.ndarray, counts: np.ndarray, sample: int) -> np.ndarray:
    """Places of the selected hashes: in every `sample` hashes in a row of one text, the smallest (the last of equal
    ones); in a text of fewer, the smallest of all. counts: hashes of each text."""
    if sample == 1 or not len(hashes):
        return np.arange(len(hashes))
    begins = np.cumsum(counts) - counts
    short = (counts > 0) & (counts < sample)
    chosen = [_smallest_of_texts(hashes, begins[short], counts[short])]
    if len(hashes) >= sample:
        whole = np.maximum(counts - sample + 1, 0)
        windows = np.arange(whole.sum()) + np.repeat(begins - (np.cumsum(whole) - whole), whole)
        chosen.append(_smallest_of_windows(hashes, sample)[windows])
    return np.unique(np.concatenate(chosen))


def _smallest_of_windows(hashes: np.ndarray, sample: int) -> np.ndarray:
    """The place of the smallest hash in hashes[i : i + sample] for every i, the last of equal ones. By doubling: of two
    windows side by side, or overlapping, the smaller smallest."""
    best, length = np.arange(len(hashes)), 1
    while length < sample:
        step = min(length, sample - length)
        left, right = best[:-step], best[step:]
        best = np.where(hashes[right] <= hashes[left], right, left)
        length += step
    return best


def _smallest_of_texts(hashes: np.ndarray, begins: np.ndarray, counts: np.ndarray) -> np.ndarray:
    best = begins
    for step in range(1, int(counts.max(initial=0))):
        place = np.where(step < counts, begins + step, best)
        best = np.where(hashes[place] <= hashes[best], place, best)
    return best
