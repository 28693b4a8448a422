"""Texts as units that can be compared, and hashes of n of them in a row. Whole shards at once, in numpy.

A unit is a character or a word. Case, width (NFKC of single characters), white space, punctuation and control
characters make no difference: two texts that read the same have the same units. Characters suit every language, and
Chinese has nothing better; words are for languages that put blanks between them, and there each character of a script
without blanks (Han, kana, Thai, …) counts as a word.

    hash of a unit sequence u_1 … u_n = mix(Σ u_i · B^(n-i) mod 2^64)    (Karp and Rabin 1987, with splitmix64's mixing)

Two different sequences have the same hash with probability 2^-64: one false pair among four billion sequences.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np

BASE = 0x9E3779B97F4A7C15
_NO_BLANKS = (
    (0x0E00, 0x0EFF),  # Thai, Lao
    (0x1000, 0x109F),  # Myanmar
    (0x1780, 0x17FF),  # Khmer
    (0x3005, 0x3007),  # 々〆〇
    (0x3021, 0x30FF),  # Hangzhou numerals, kana
    (0x3100, 0x312F),  # Bopomofo
    (0x31A0, 0x31BF),
    (0x3400, 0x9FFF),
    (0xF900, 0xFAFF),
    (0x20000, 0x3FFFF),
)
_LAST_LISTED = 0x20000
"""Above it are Han characters (kept as they are) and private or unassigned ones (dropped)."""


@dataclass(frozen=True)
class Units:
    """The units of many texts, one after the other.

    codes:   uint64, what a unit is
    first:   the place of its first character among all characters of all texts; last: of its last one
    offsets: text i has the units offsets[i] … offsets[i + 1] - 1
    lengths: of the texts, in characters
    """

    codes: np.ndarray
    first: np.ndarray
    last: np.ndarray
    offsets: np.ndarray
    lengths: np.ndarray

    @property
    def begins(self) -> np.ndarray:
        """Where each unit begins in its own text."""
        return self.first - self._shifts()

    @property
    def ends(self) -> np.ndarray:
        """The character after each unit, in its own text."""
        return self.last + 1 - self._shifts()

    def _shifts(self) -> np.ndarray:
        return np.repeat(np.cumsum(self.lengths) - self.lengths, self.counts)

    @property
    def counts(self) -> np.ndarray:
        return np.diff(self.offsets)


def characters(texts: Sequence[str]) -> Units:
    """Every letter, digit, mark and symbol as a unit."""
    folded, lengths = _folded(texts)
    kept = np.flatnonzero(folded)
    offsets = np.searchsorted(kept, np.concatenate([[0], np.cumsum(lengths)]))
    return Units(folded[kept].astype(np.uint64), kept, kept, offsets, lengths)


def words(texts: Sequence[str]) -> Units:
    """What stands between blanks and punctuation as a unit; of scripts without blanks, every character."""
    folded, lengths = _folded(texts)
    kept = folded != 0
    single = kept & _no_blanks()[folded]
    begin = kept.copy()
    begin[1:] &= ~kept[:-1] | single[1:] | single[:-1]
    text_begins = np.cumsum(lengths) - lengths
    begin[text_begins[lengths > 0]] = kept[text_begins[lengths > 0]]
    first, places = np.flatnonzero(begin), np.flatnonzero(kept)
    if not len(first):
        return Units(np.empty(0, np.uint64), first, first, np.zeros(len(texts) + 1, np.int64), lengths)
    within = np.searchsorted(places, first)
    word = np.cumsum(begin)[places] - 1
    inside = (places - first[word]).astype(np.uint64)
    codes = np.add.reduceat(mixed(folded[places].astype(np.uint64) | (inside << np.uint64(32))), within)
    offsets = np.searchsorted(first, np.concatenate([[0], np.cumsum(lengths)]))
    last = places[np.append(within[1:], len(places)) - 1]
    return Units(codes, first, last, offsets, lengths)


def ngrams(units: Units, n: int) -> tuple[np.ndarray, np.ndarray]:
    """(hashes uint64, offsets): of every n units in a row of every text; a shorter text is one n-gram, an
    empty one none."""
    codes, offsets = _padded(units, n)
    hashes = mixed(windows(codes, n))
    counts = np.maximum(np.diff(offsets) - n + 1, 0)
    if len(hashes):
        hashes = hashes[_inside(offsets, n, len(hashes))]
    return hashes, np.concatenate([[0], np.cumsum(counts)])


def share_without_blanks(text: str) -> float:
    """How much of a text's letters and digits belong to scripts without blanks between words."""
    folded, _ = _folded([text])
    kept = folded[folded != 0]
    return float(_no_blanks()[kept].mean()) if len(kept) else 0.0


def whole(units: Units) -> np.ndarray:
    """A hash of each text, uint64; texts without units share one."""
    within = np.arange(len(units.codes)) - np.repeat(units.offsets[:-1], units.counts)
    hashes = np.zeros(len(units.offsets) - 1, np.uint64)
    some = np.flatnonzero(units.counts)
    if len(some):
        placed = mixed(units.codes + (within.astype(np.uint64) << np.uint64(32)))
        hashes[some] = np.add.reduceat(placed, units.offsets[:-1][some])
    return mixed(hashes + units.counts.astype(np.uint64))


def windows(codes: np.ndarray, n: int) -> np.ndarray:
    """Σ codes[i + j] · B^(n-1-j) for every i, not yet mixed. By doubling: log2(n) passes over the codes.

    For A(i, m), the sum over m codes: A(i, a + b) = A(i, a) · B^b + A(i + a, b).
    """
    if len(codes) < n:
        return np.empty(0, np.uint64)
    powers, length = codes, 1
    done, done_length = codes[:0], 0
    while True:
        if n & length:
            count = len(codes) - length - done_length + 1
            done = powers[:count] * _base_to(done_length) + done[length : length + count] if done_length else powers
            done_length += length
        if done_length == n:
            return done
        powers = powers[:-length] * _base_to(length) + powers[length:]
        length *= 2


def mixed(values: np.ndarray) -> np.ndarray:
    """splitmix64's finalizer: every bit of the result depends on every bit of the value."""
    values = values ^ (values >> np.uint64(30))
    values *= np.uint64(0xBF58476D1CE4E5B9)
    values ^= values >> np.uint64(27)
    values *= np.uint64(0x94D049BB133111EB)
    values ^= values >> np.uint64(31)
    return values


def _base_to(power: int) -> np.uint64:
    return np.uint64(pow(BASE, power, 2**64))


def _folded(texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """All characters of all texts in one form, 0 where they make no difference, and the texts' lengths."""
    lengths = np.fromiter(map(len, texts), np.int64, len(texts))
    points = np.frombuffer("".join(texts).encode("utf-32-le", "surrogatepass"), "<u4")
    return _folding()[points], lengths


def _padded(units: Units, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Texts of fewer than n units (but some) filled up with zeros."""
    counts = units.counts
    short = (counts > 0) & (counts < n)
    if not short.any():
        return units.codes, units.offsets
    wanted = np.where(short, n, counts)
    offsets = np.concatenate([[0], np.cumsum(wanted)])
    given = np.ones(offsets[-1], bool)
    for count in range(1, n):
        ends = offsets[:-1][short & (counts == count)] + count
        for place in range(n - count):
            given[ends + place] = False
    codes = np.zeros(offsets[-1], np.uint64)
    codes[given] = units.codes
    return codes, offsets


def _inside(offsets: np.ndarray, n: int, num_windows: int) -> np.ndarray:
    """True for the windows of n units that lie within one text."""
    inside = np.ones(num_windows, bool)
    ends = offsets[1:-1]
    for before in range(1, n):
        places = ends - before
        inside[places[(places >= 0) & (places < num_windows)]] = False
    return inside


@cache
def _folding() -> np.ndarray:
    """Character → the character that stands for it, 0 for those that make no difference."""
    table = np.zeros(0x110000, np.uint32)
    for point in range(_LAST_LISTED):
        if point < 0x3400 or point > 0xD7FF or 0x9FFF < point < 0xAC00:
            table[point] = _stands_for(chr(point))
        else:
            table[point] = point
    han = np.arange(_LAST_LISTED, 0x40000)
    table[han] = han
    return table


def _stands_for(character: str) -> int:
    compatible = unicodedata.normalize("NFKC", character)
    character = (compatible if len(compatible) == 1 else character).lower()[0]
    return ord(character) if unicodedata.category(character)[0] in "LNMS" else 0


@cache
def _no_blanks() -> np.ndarray:
    table = np.zeros(0x110000, bool)
    for first, last in _NO_BLANKS:
        table[first : last + 1] = True
    return table
