"""Profanity, slurs, sexual and threatening phrases, spam: counted by lists and patterns, dropped above a threshold.

    score = 1000 · Σ weight · hits / characters        (a text shorter than 200 characters counts as 200)

Chinese has no blanks between words: 三小 (what the hell) is also the beginning of 三小時 (three hours). So the
longer, innocent words are matched beside the others, and a hit that lies inside one counts nothing. English words
count whole. The lists are in toxicity.yaml; `words` adds to them. A list finds what people say openly; it
understands nothing.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from hanlin.core.text.documents import Row
from hanlin.core.text.personal.folding import fold
from hanlin.make.collect.options.sensitive import Toxicity
from hanlin.make.collect.steps.matching.parts import texts_of
from hanlin.make.collect.steps.step import Context, RowStep

_SHORTEST_CHARS = 200


def make(options: Toxicity, context: Context) -> RowStep:
    finder = Finder(options)

    def step(rows: list[Row]) -> Iterable[Row]:
        for row in rows:
            texts = texts_of(row)
            hits = sum((finder.hits(text) for text in texts), Counter())
            if not hits:
                yield row
                continue
            score = round(finder.score(hits, sum(map(len, texts))), 2)
            row = replace(row, notes={**row.notes, options.step: dict(sorted(hits.items()))})
            if options.threshold is not None and score >= options.threshold:
                row = replace(row, reason=f"toxicity: {score:g} for {', '.join(sorted(hits))}")
            yield row

    return step


class Finder:
    """Hits by category, with the lists of the package and those of the options."""

    def __init__(self, options: Toxicity):
        lists = _lists()
        names = dict.fromkeys([*options.categories, *options.words])
        self.weights: dict[str, float] = {name: lists.get(name, {}).get("weight", 1) for name in names}
        self._category: dict[str, str] = {}
        english: dict[str, str] = {}
        self._patterns: list[tuple[str, re.Pattern[str]]] = []
        for name in names:
            known = lists.get(name, {}) if name in options.categories else {}
            for word in [*known.get("words", "").split(), *options.words.get(name, ())]:
                (english if _is_english(word) else self._category).setdefault(fold(word).lower(), name)
            english |= dict.fromkeys(known.get("english", "").split(), name)
            self._patterns += [(name, re.compile(pattern)) for pattern in known.get("patterns", ())]
        innocent = {fold(word).lower() for word in [*lists["innocent"].split(), *options.innocent]}
        self._chinese = _any_of({*self._category, *innocent})
        self._innocent = innocent
        self._english = english
        self._words = re.compile(r"(?<![a-z])(?:" + "|".join(sorted(english)) + r")(?![a-z])") if english else None

    def hits(self, text: str) -> Counter[str]:
        """How many of each category. Where words overlap the longest counts, so an innocent word covers what is in
        it."""
        found: Counter[str] = Counter()
        folded = fold(text)
        small = folded.lower() if len(folded.lower()) == len(folded) else folded
        for match in self._chinese.finditer(small):
            if match[0] not in self._innocent:
                found[self._category[match[0]]] += 1
        if self._words is not None:
            found.update(self._english[match[0]] for match in self._words.finditer(small))
        for name, pattern in self._patterns:
            found[name] += sum(1 for _ in pattern.finditer(folded))
        return +found

    def score(self, hits: Counter[str], characters: int) -> float:
        total = sum(self.weights[name] * count for name, count in hits.items())
        return 1000 * total / max(characters, _SHORTEST_CHARS)


def _any_of(words: Iterable[str]) -> re.Pattern[str]:
    """The longest of the words that begin at a place."""
    return re.compile("|".join(map(re.escape, sorted(words, key=lambda word: (-len(word), word)))))


def _is_english(word: str) -> bool:
    return word.isascii() and word.isalpha()


@cache
def _lists() -> dict[str, Any]:
    return yaml.safe_load(Path(__file__).with_suffix(".yaml").read_text(encoding="utf-8"))
