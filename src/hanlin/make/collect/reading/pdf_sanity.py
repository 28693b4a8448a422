"""How sane a page's text is, from 0 (garbage) to 1. PDF has no text, only glyphs and, if all goes well, a table that
says which characters they are. Where the table is missing or wrong, an engine returns garbage with full confidence.

The score is the least of these shares, each 1 where nothing is wrong:

    readable     characters that are no U+FFFD, private use, control or "(cid:12)"
    words        letters, Han, digits among all but punctuation that is common
    Han          mean log P of the Han characters (encoding.py): text in −8 … −9.9, shuffled characters below −10.3
    Latin        mean log frequency of the letters: languages in Latin letters −2.8 … −3.2, shuffled ones below −3.5
    mojibake     characters of the upper half of Latin-1, with which bytes are spelled out
    order        characters that don't stand alone on their line
"""

from __future__ import annotations

import math
import re
from collections import Counter
from dataclasses import dataclass

from hanlin.make.collect.reading.encoding import mean_nats

_UNREADABLE = re.compile(
    "[\x00-\x08\x0b\x0e-\x1f\x7f-\x9f\ufffd\ufffe\uffff\ue000-\uf8ff\ud800-\udfff\U000f0000-\U0010ffff]"
)
_CID = re.compile(r"\(cid:\d+\)|/[gG]\d+|/uni[0-9A-F]{4}")
_HAN = re.compile("[\u3400-\u4dbf\u4e00-\u9fff\U00020000-\U000323af]")
_LATIN = re.compile("[A-Za-z]")
_UPPER_LATIN1 = re.compile("[\u0080-\u00bf\u00c0-\u00ff]")
_COMMON_MARKS = frozenset(
    ".,;:!?()[]-–—'\"“”‘’/%&+=·…，。、；：？！（）「」『』《》〈〉【】〔〕○●•─│┌┐└┘├┤┬┴┼■□①②③④⑤⑥⑦⑧⑨⑩"
)
_ENOUGH_HAN, _ENOUGH_LATIN = 12, 120
"""Fewer characters tell nothing about frequencies."""

_DEVIATION_NATS = 2.3
"""Of log P from character to character, in Chinese text."""

_LETTERS = "etaoinshrdlcumwfgypbvkjxqz"
_FREQUENCIES = (
    12.7,
    9.1,
    8.2,
    7.5,
    7.0,
    6.7,
    6.3,
    6.1,
    6.0,
    4.3,
    4.0,
    2.8,
    2.8,
    2.4,
    2.4,
    2.2,
    2.0,
    2.0,
    1.9,
    1.5,
    1.0,
)
# English; the last five letters share what is left. French, German, Spanish and romanised Chinese score much the same.
_LETTER_NATS = dict(zip(_LETTERS, (math.log(share / 100) for share in (*_FREQUENCIES, 0.8, 0.15, 0.15, 0.1, 0.07))))


@dataclass(frozen=True)
class Sanity:
    """score, and what is wrong: the lowest share's name in words."""

    score: float
    why: str


def sanity(text: str) -> Sanity:
    """Of one page's text. No text is not sane."""
    visible = "".join(text.split())
    if not visible:
        return Sanity(0.0, "no text")
    shares = {
        "unreadable characters": _readable(visible),
        "few letters among signs": min(1.0, _words(visible) / 0.6),
        "characters that make no words": min(_han(visible), _latin(visible)),
        "bytes spelled out as letters": _without_mojibake(visible),
        "characters one by one": _in_lines(text),
    }
    why = min(shares, key=shares.__getitem__)
    return Sanity(shares[why], why)


def agreement(one: str, other: str) -> float:
    """Share of characters that two readings of a page have in common, whatever their order; 1 where both are empty."""
    a, b = Counter("".join(one.split())), Counter("".join(other.split()))
    total = a.total() + b.total()
    return 2 * (a & b).total() / total if total else 1.0


def _readable(visible: str) -> float:
    bad = len(_UNREADABLE.findall(visible)) + sum(map(len, _CID.findall(visible)))
    # A stray character is no matter, one in five is a page that can't be read.
    return max(0.0, 1 - 3 * bad / len(visible))


def _words(visible: str) -> float:
    counted = [character for character in visible if character not in _COMMON_MARKS]
    return sum(map(str.isalnum, counted)) / len(counted) if counted else 0.5


def _han(visible: str) -> float:
    han = _HAN.findall(visible)
    if len(han) < _ENOUGH_HAN:
        return 1.0
    # A mean of few characters scatters: it gets the benefit of one standard error.
    return _between(mean_nats("".join(han)) + _DEVIATION_NATS / len(han) ** 0.5, -10.3, -9.7)


def _latin(visible: str) -> float:
    letters = [letter.lower() for letter in _LATIN.findall(visible)]
    if len(letters) < max(_ENOUGH_LATIN, len(visible) // 3):
        return 1.0
    return _between(sum(map(_LETTER_NATS.__getitem__, letters)) / len(letters), -3.55, -3.25)


def _without_mojibake(visible: str) -> float:
    share = len(_UPPER_LATIN1.findall(visible)) / len(visible)
    return 1 - _between(share, 0.15, 0.35)


def _in_lines(text: str) -> float:
    lines = [line for line in map(str.strip, text.splitlines()) if line]
    if len(lines) < 20:
        return 1.0
    alone = sum(len(line) == 1 for line in lines)
    return 1 - alone / len("".join(lines))


def _between(value: float, low: float, high: float) -> float:
    """0 at `low` and below, 1 at `high` and above."""
    return min(1.0, max(0.0, (value - low) / (high - low)))
