"""繁 or 簡, character by character: which script a text is written in, and how much of the other one leaks in.

A character tells the script only if the other script never uses it. 灣 is Traditional, 湾 is Simplified; 山, 台 and 里
are written in both and tell nothing. The two sets come from OpenCC's tables and the national character sets:

    Simplified only  = OpenCC s2t changes it, and Big5 (cp950) can't encode it
    Traditional only = OpenCC t2s changes it, and GB 2312 can't encode it
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from hanlin.core.text.scripts import Script

MINORITY_SHARE = 0.05
"""A text is mixed when more of its telling characters belong to the other script. Less is a quotation."""

_HAN, _TRADITIONAL, _SIMPLIFIED = 1, 2, 4
_HAN_RANGES = ((0x3007, 0x3008), (0x3400, 0x4DC0), (0x4E00, 0xA000), (0xF900, 0xFB00), (0x20000, 0x323B0))
_CONVERTED_RANGES = ((0x3400, 0x4DC0), (0x4E00, 0xA000), (0x20000, 0x2A6E0))
_BLOCK_CHARS = 1 << 20
_NUM_CODE_POINTS = 0x110000


@dataclass(frozen=True)
class ScriptCount:
    """Characters of a text: only Traditional, only Simplified, Han at all, all of them. Counts add up with `+`."""

    traditional: int = 0
    simplified: int = 0
    han: int = 0
    total: int = 0

    def __add__(self, other: ScriptCount) -> ScriptCount:
        return ScriptCount(
            self.traditional + other.traditional,
            self.simplified + other.simplified,
            self.han + other.han,
            self.total + other.total,
        )

    @property
    def traditional_share(self) -> float:
        """Traditional characters among those that tell; 0 when none tells."""
        return self.traditional / max(1, self.traditional + self.simplified)

    @property
    def simplified_per_1000(self) -> float:
        return 1000 * self.simplified / max(1, self.total)

    @property
    def script(self) -> Script:
        telling = self.traditional + self.simplified
        if telling == 0:
            return "other"
        if self.simplified <= MINORITY_SHARE * telling:
            return "Hant"
        return "Hans" if self.traditional <= MINORITY_SHARE * telling else "mixed"


def count_script(text: str) -> ScriptCount:
    """Count by a table lookup on code points: about 100 million characters a second."""
    counts = np.zeros(8, dtype=np.int64)
    for start in range(0, len(text), _BLOCK_CHARS):
        counts += np.bincount(_marks_of(text[start : start + _BLOCK_CHARS]), minlength=8)
    traditional = int(counts[_HAN | _TRADITIONAL])
    simplified = int(counts[_HAN | _SIMPLIFIED])
    return ScriptCount(traditional, simplified, int(counts[_HAN]) + traditional + simplified, len(text))


def count_scripts(texts: Sequence[str]) -> Iterator[ScriptCount]:
    """The count of each text. Short ones are looked up many at once, a block of characters at a time."""
    block: list[str] = []
    characters = 0
    for text in texts:
        if block and characters + len(text) > _BLOCK_CHARS:
            yield from _counted(block)
            block, characters = [], 0
        block.append(text)
        characters += len(text)
    yield from _counted(block)


def _counted(texts: Sequence[str]) -> Iterator[ScriptCount]:
    if len(texts) < 2:
        yield from map(count_script, texts)
        return
    lengths = list(map(len, texts))
    borders = np.cumsum([0, *lengths])
    marks = _marks_of("".join(texts))
    before = (
        np.flatnonzero(found).searchsorted(borders)
        for found in (marks == _HAN | _TRADITIONAL, marks == _HAN | _SIMPLIFIED, marks & _HAN)
    )
    columns = (np.diff(places).tolist() for places in before)
    yield from map(ScriptCount, *columns, lengths)


def simplified_leak_per_1000(text: str) -> float:
    """Simplified-only characters per 1,000 characters of `text`; 0 for an empty text."""
    return count_script(text).simplified_per_1000


def script_of(text: str) -> Script:
    """Hant, Hans, mixed, or other: no Han characters, or none that tells (大山 is both)."""
    return count_script(text).script


def traditional_only() -> frozenset[str]:
    """Characters that only Traditional Chinese uses."""
    return _telling_characters()[0]


def simplified_only() -> frozenset[str]:
    """Characters that only Simplified Chinese uses."""
    return _telling_characters()[1]


@lru_cache(maxsize=1)
def _telling_characters() -> tuple[frozenset[str], frozenset[str]]:
    characters = [chr(code) for start, end in _CONVERTED_RANGES for code in range(start, end)]
    simplified = {c for c in _changed(characters, "s2t") if not _encodable(c, "cp950")}
    traditional = {c for c in _changed(characters, "t2s") if not _encodable(c, "gb2312")}
    # A handful (藴, 醖) are changed both ways: variants of either script, so they tell nothing.
    return frozenset(traditional - simplified), frozenset(simplified - traditional)


def _changed(characters: list[str], conversion: str) -> list[str]:
    """The characters that OpenCC's conversion replaces. Line breaks between them keep phrases from matching."""
    import opencc

    converted = opencc.OpenCC(conversion).convert("\n".join(characters)).split("\n")
    assert len(converted) == len(characters)
    return [before for before, after in zip(characters, converted) if before != after]


def _encodable(character: str, encoding: str) -> bool:
    try:
        character.encode(encoding)
    except UnicodeEncodeError:
        return False
    return True


def _marks_of(text: str) -> np.ndarray:
    return _marks()[np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype="<u4")]


@lru_cache(maxsize=1)
def _marks() -> np.ndarray:
    """(code points) uint8: which of the three marks each character bears."""
    table = np.zeros(_NUM_CODE_POINTS, dtype=np.uint8)
    for start, end in _HAN_RANGES:
        table[start:end] = _HAN
    for characters, mark in zip(_telling_characters(), (_TRADITIONAL, _SIMPLIFIED)):
        table[[ord(character) for character in characters]] |= mark
    return table
