"""Nothing of an evaluation set in the training data: rows that share a long n-gram with one of its items are
dropped, or the shared part is cut out. The input `evaluation` holds the items: files of any
kind that collect reads, or a corpus.

Where blanks separate words an n-gram is 13 words, as in GPT-3 (Brown et al. 2020, appendix C). Where they don't, it
is 16 characters. Measured on the questions of Taiwan's 813 constitutional interpretations against 1,541 Justices'
opinions: of the opinions that share n characters with a question, those that belong to its very case are 65 % for n
= 13 (names of statutes are common coin), 75 % for 16 and 76 % for 20, but 20 finds little more
than half as many of them as 16; 100,000 poems share nothing with them at any n from 8 on. Items that are shorter
than that are looked for as a whole if they have `least` words or characters (DeepSeekMath, Shao et al. 2024, does
so from 3 words on); still shorter ones can't be told from common words, and their number is said. Case, width,
white space and punctuation make no difference.

Memory: 12 bytes an n-gram of the evaluation set, left on the disk and shared by all processes.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np

from hanlin.core.run.errors import HanlinError
from hanlin.core.run.events import Emit
from hanlin.core.text.documents import Row
from hanlin.make.collect.options.repetition import Decontaminate
from hanlin.make.collect.steps.matching import others, units
from hanlin.make.collect.steps.matching.parts import says_nothing, texts_of, with_texts, without
from hanlin.make.collect.steps.step import Context, RowStep

MOST_NOTED = 10
SHOWN_CHARS = 60


def prepare(options: Decontaminate, context: Context, emit: Emit) -> None:
    """The items' n-grams as sorted hashes, one file for each length of n-gram. Raises HanlinError without items."""
    if not others.has(context, "evaluation"):
        raise _no_evaluation()
    hashes: dict[int, list[np.ndarray]] = {}
    items: dict[int, list[np.ndarray]] = {}
    names: list[str] = []
    too_short = 0
    for row in others.rows_of(context, "evaluation"):
        item = len(names)
        names.append(row.id.removeprefix("evaluation/"))
        found = units.words([row.content])
        n = _length(options, row.content, found)
        if not n:
            too_short += 1
            continue
        grams = np.unique(units.ngrams(found, n)[0])
        hashes.setdefault(n, []).append(grams)
        items.setdefault(n, []).append(np.full(len(grams), item, np.int32))
    for n in hashes:
        found_hashes, found_items = np.concatenate(hashes[n]), np.concatenate(items[n])
        first = np.unique(found_hashes, return_index=True)[1]
        np.save(context.work / f"hashes-{n:03d}.npy", found_hashes[first])
        np.save(context.work / f"items-{n:03d}.npy", found_items[first])
    (context.work / "items.json").write_text(json.dumps(names, ensure_ascii=False), encoding="utf-8")
    least = f"{options.least_words} words or {options.least_characters} characters"
    if too_short:
        emit("note", text=f"decontaminate: {too_short} of {len(names)} items have fewer than {least}: not looked for.")


def make(options: Decontaminate, context: Context) -> RowStep:
    return Search(options, context.work)


class Search:
    """Finds the evaluation set's n-grams in rows."""

    def __init__(self, options: Decontaminate, work: Path):
        self.options = options
        self.names: list[str] = json.loads((work / "items.json").read_text(encoding="utf-8"))
        self.known = {
            int(path.stem[-3:]): (np.load(path, mmap_mode="r"), np.load(work / f"items-{path.stem[-3:]}.npy"))
            for path in sorted(work.glob("hashes-*.npy"))
        }

    def __call__(self, rows: list[Row]) -> Iterable[Row]:
        texts = [texts_of(row) for row in rows]
        found = units.words([text for parts in texts for text in parts])
        matches = self._matches(found)
        number = 0
        for row, parts in zip(rows, texts):
            here = [matches.get(number + place, []) for place in range(len(parts))]
            number += len(parts)
            yield self._judged(row, parts, here) if any(here) else row

    def _matches(self, found: units.Units) -> dict[int, list[tuple[int, int, int]]]:
        """{text: (begin, end, item) of what it shares}, in characters."""
        all_begins, all_ends = found.begins, found.ends
        matches: dict[int, list[tuple[int, int, int]]] = {}
        for n, (known, items) in self.known.items():
            hashes = units.mixed(units.windows(found.codes, n))
            places = np.minimum(np.searchsorted(known, hashes), len(known) - 1)
            starts = np.flatnonzero(known[places] == hashes)
            text_of = np.searchsorted(found.offsets, starts, side="right") - 1
            whole = starts + n <= found.offsets[text_of + 1]
            starts, text_of = starts[whole], text_of[whole]
            begins, ends = all_begins[starts], all_ends[starts + n - 1]
            columns = (text_of, begins, ends, items[places[starts]])
            for text, begin, end, item in zip(*(column.tolist() for column in columns)):
                matches.setdefault(text, []).append((begin, end, item))
        return matches

    def _judged(self, row: Row, texts: list[str], matches: list[list[tuple[int, int, int]]]) -> Row:
        shared = [_joined(part) for part in matches]
        noted = [
            (self.names[item], " ".join(text[begin:end].split())[:SHOWN_CHARS])
            for text, part in zip(texts, shared)
            for begin, end, item in part
        ]
        counts: dict[str, int] = {}
        for name, text in noted:
            counts[f"{name}: {text}"] = counts.get(f"{name}: {text}", 0) + 1
        counts = dict(list(counts.items())[:MOST_NOTED])
        row = replace(row, notes={**row.notes, "decontaminate": counts})
        reason = f"in the evaluation set: {noted[0][0]} “{noted[0][1]}”"
        if self.options.do == "drop":
            return replace(row, reason=reason)
        around = self.options.around
        kept = []
        for text, part in zip(texts, shared):
            wide = [(max(0, begin - around), min(len(text), end + around), item) for begin, end, item in part]
            kept.append(without(text, [(begin, end) for begin, end, _ in _joined(wide)]).strip())
        emptied = any(part and says_nothing(left) for left, part in zip(kept, shared))
        return replace(row, reason=reason) if emptied else with_texts(row, kept)


def _length(options: Decontaminate, text: str, found: units.Units) -> int:
    """Units of the n-grams to look for in this item; 0 where it is too short."""
    count = len(found.codes)
    chinese = units.share_without_blanks(text) > 0.5
    wanted, least = (options.characters, options.least_characters) if chinese else (options.words, options.least_words)
    return wanted if count >= wanted else count if count >= least else 0


def _joined(spans: list[tuple[int, int, int]]) -> list[tuple[int, int, int]]:
    """Spans in order, those that overlap or touch as one, with the item of the first."""
    joined: list[tuple[int, int, int]] = []
    for begin, end, item in sorted(spans):
        if joined and begin <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(end, joined[-1][1]), joined[-1][2])
        else:
            joined.append((begin, end, item))
    return joined


def _no_evaluation() -> HanlinError:
    return HanlinError(
        "The step decontaminate has nothing to compare with.",
        "the input evaluation: the questions that the model will be measured on",
        "add evaluation=FILE_OR_FOLDER",
        "src/hanlin/make/collect/README.md",
    )
