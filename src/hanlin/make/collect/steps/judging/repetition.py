"""How much of a text repeats itself, in any script: after Rae et al. 2021 (Gopher, https://arxiv.org/abs/2112.11446).

Gopher counts n-grams of words. Chinese has no blanks, so units are characters where Han, kana or Hangul are most of the
letters, and words elsewhere; a word is about 1.6 Chinese characters, so sizes differ:

                     top n-gram   repeated n-grams
    words            2, 3, 4      5
    characters       4, 5, 6      8
    of Thai, Tibetan, Burmese, …, which write several for a syllable: 12, 15, 18 and 24

top n-gram:        of the most frequent n-gram, its number · its characters / all characters
repeated n-grams:  characters that lie in an n-gram which stood there before / all characters (none is counted twice)
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

TOP_SIZES = {"characters": (4, 5, 6), "signs": (12, 15, 18), "words": (2, 3, 4)}
REPEATED_SIZE = {"characters": 8, "signs": 24, "words": 5}

LEAST_REPEATING = 50
"""Characters; shorter texts aren't looked at."""

_PLACE = np.uint64((1 << 24) - 1)
_MOST_UNITS = 1 << 20
_LEAST_COUNT = 4
"""An n-gram that occurs less often is no sign in a short text."""


@dataclass(frozen=True)
class Units:
    """A text in units: their identities as numbers, and how many characters each has."""

    kind: str
    identities: np.ndarray
    lengths: np.ndarray


def units_of(text: str, codes: np.ndarray, kind: str) -> Units:
    """kind: a key of TOP_SIZES. codes: the text's code points without white space."""
    codes, text = codes[:_MOST_UNITS], text[:_MOST_UNITS]
    if kind != "words":
        return Units(kind, codes.astype(np.uint32), np.ones(len(codes), np.int64))
    words = text.lower().split()
    numbers: dict[str, int] = {}
    identities = np.array([numbers.setdefault(word, len(numbers)) for word in words], dtype=np.uint32)
    return Units(kind, identities, np.array([len(word) for word in words], dtype=np.int64))


def top_share(units: Units) -> float:
    """The largest of the sizes' shares; 0 for texts too short to repeat anything."""
    total = int(units.lengths.sum())
    best = 0.0
    for size in TOP_SIZES[units.kind]:
        order, same = _sorted(units, size)
        starts = np.flatnonzero(np.concatenate(([True], ~same)))
        if len(order) < _LEAST_COUNT:
            continue
        counts = np.diff(np.append(starts, len(order)))
        most = int(counts.argmax())
        if counts[most] >= _LEAST_COUNT:
            first = int(order[starts[most]])
            best = max(best, int(counts[most]) * int(units.lengths[first : first + size].sum()) / total)
    return min(1.0, best)


def repeated_share(units: Units) -> float:
    """0 for texts too short to repeat anything."""
    size = REPEATED_SIZE[units.kind]
    order, same = _sorted(units, size)
    if not same.any():
        return 0.0
    again = order[1:][same]
    edges = np.zeros(len(units.lengths) + 1, np.int64)
    edges[again] += 1
    edges[again + size] -= 1
    return int(units.lengths[np.cumsum(edges[:-1]) > 0].sum()) / int(units.lengths.sum())


def _sorted(units: Units, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Places of all n-grams, equal ones together in their order; and which of them equal the one before."""
    num = len(units.identities) - size + 1
    if num < 2:
        return np.empty(0, np.int64), np.empty(0, bool)
    hashes = np.zeros(num, np.uint64)
    for offset in range(size):
        hashes = (hashes + units.identities[offset : offset + num] + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
    # Hash and place in one number: sorting numbers is several times quicker than sorting their places.
    places = np.arange(num, dtype=np.uint64)
    packed = np.sort((hashes & ~_PLACE) | places)
    ordered = packed & ~_PLACE
    return (packed & _PLACE).astype(np.int64), ordered[1:] == ordered[:-1]
