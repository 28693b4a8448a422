"""Texts that spell special tokens stay texts: their spelling is broken before a template sees it, mended afterwards.

A template writes `<|im_end|>` to end a turn; a message may spell it too. After rendering both look alike, so each
spelling inside a message gets a private-use character that occurs nowhere else behind its first letter. The rendered
text is cut at special tokens, of which only the template's own are left, and the character is taken out of the rest.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from typing import Any


@dataclass(frozen=True)
class Spellings:
    """The tokens texts must not become. special: cut out by the tokenizer itself; others: added tokens that are not
    special (DeepSeek's `<｜User｜>`), which it would find even in plain text."""

    special: tuple[str, ...]
    others: tuple[str, ...]

    def find(self, text: str) -> Iterator[re.Match[str]]:
        return self._pattern.finditer(text)

    @cached_property
    def _pattern(self) -> re.Pattern[str]:
        longest_first = sorted((*self.special, *self.others), key=len, reverse=True)
        return re.compile("|".join(map(re.escape, longest_first)) or "(?!)")

    @cached_property
    def starts(self) -> frozenset[str]:
        """What a text may end with for the next one to complete a token. One letter can't be broken, but then the
        rest, in `ends`, can."""
        return frozenset(token[:length] for token in self._all for length in range(2, len(token)))

    @cached_property
    def ends(self) -> frozenset[str]:
        return frozenset(token[-length:] for token in self._all for length in range(2, len(token)))

    @cached_property
    def longest(self) -> int:
        return max(map(len, self._all), default=0)

    @property
    def _all(self) -> tuple[str, ...]:
        return (*self.special, *self.others)


@dataclass(frozen=True)
class Breaker:
    """Breaks spellings with `mark`; `cut` marks those whose halves have to be encoded apart."""

    spellings: Spellings
    mark: str
    cut: str

    def broken(self, value: Any) -> Any:
        """A copy made of plain types in which no text, and no name of a field, spells a token."""
        if isinstance(value, str):
            text = self._whole(str(value))
            return self._insert(text, self._halves(text))
        if isinstance(value, Mapping):
            return {self._whole(str(name)): self.broken(part) for name, part in value.items()}
        if isinstance(value, list | tuple):
            return [self.broken(part) for part in value]
        return value

    def is_broken(self, text: str) -> bool:
        return any(form in text for character in (self.mark, self.cut) for form in (character, ascii_form(character)))

    def mended(self, text: str) -> list[str]:
        """The text as it was, in the pieces to be encoded."""
        text = text.replace(self.mark, "").replace(ascii_form(self.mark), "")
        return text.replace(ascii_form(self.cut), self.cut).split(self.cut)

    def _whole(self, text: str) -> str:
        while places := [(m.start() + 1, m[0]) for m in self.spellings.find(text) if len(m[0]) > 1]:
            text = self._insert(text, places)
        return text

    def _halves(self, text: str) -> list[tuple[int, str]]:
        """Parts of a token at the ends of a text, which two texts set side by side would complete."""
        places = []
        for length in range(min(self.spellings.longest, len(text)), 1, -1):
            if text[:length] in self.spellings.ends:
                places.append((1, text[:length]))
                break
        for length in range(min(self.spellings.longest, len(text)), 1, -1):
            if text[-length:] in self.spellings.starts:
                places.append((len(text) - length + 1, text[-length:]))
                break
        return places

    def _insert(self, text: str, places: Iterable[tuple[int, str]]) -> str:
        for place, part in sorted(places, reverse=True):
            other = any(part in token for token in self.spellings.others)
            text = text[:place] + (self.cut if other else self.mark) + text[place:]
        return text


def new_breaker(spellings: Spellings, values: Any) -> Breaker:
    """With two characters that occur in none of the texts."""
    texts = list(_texts(values))
    used = set(chain.from_iterable(texts))
    private = map(chr, chain(range(0xE000, 0xF900), range(0xF0000, 0xFFFFE), range(0x100000, 0x10FFFE)))
    free = (mark for mark in private if mark not in used and not any(ascii_form(mark) in text for text in texts))
    return Breaker(spellings, next(free), next(free))


def ascii_form(character: str) -> str:
    """As JSON in ASCII writes it, should a template do so."""
    return json.dumps(character)[1:-1]


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for name, part in value.items():
            yield from _texts(name)
            yield from _texts(part)
    elif isinstance(value, list | tuple):
        for part in value:
            yield from _texts(part)
