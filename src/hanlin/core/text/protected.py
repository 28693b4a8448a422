"""Spans of a text that no conversion may touch: code, addresses, paths, and quotations.

They are taken out, each leaving a hole, and put back afterwards. A hole is a noncharacter of Unicode, which no text
should hold; one that does is itself taken out, as are lone surrogates and private characters.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache

HOLE, JOINT = "\ufffe", "\uffff"
"""What stands for a span; and what joins texts that are worked on together."""

_ODD = r"[\ufffe\uffff\ud800-\udfff\U000f0000-\U0010ffff\x00]"
_FENCED = r"(?:^|(?<=\n))[ \t]*(?P<fence>`{3,}+|~{3,}+)[^\n]*\n(?s:.*?)(?:\n[ \t]*(?P=fence)[`~]*(?=\n|\Z)|\Z)"
_INLINE = r"(?<!`)(?P<tick>`++)[^\n]{1,400}?(?<!`)(?P=tick)(?!`)"
# Han characters are part of an address or a path behind a sign that only these have.
_HAN = r"(?:(?<=[/\\=?#&%_.~-])[\w]+[!-~]*)*"
_ADDRESS = r"(?:https?|ftp|file)://[!-~]*" + _HAN
# Radicals (⼀) count as the characters they stand for, or a text would have other paths once they are replaced.
_PATH = r"(?<![\w\u2e80-\u2fdf/\\.])(?:[A-Za-z]:\\|~?/|\.{1,2}/)(?:[\w.-]+[\\/])+[\w.-]*"
_QUOTATION = r"「[^「」\n]{1,400}」|『[^『』\n]{1,400}』|“[^“”\n]{1,400}”"

_PARTS = {
    _FENCED: re.compile("```|~~~"),
    _INLINE: re.compile("`"),
    _ADDRESS: re.compile("://"),
    _PATH: re.compile(r"[/\\][\w.-]+[/\\]"),
}
"""By pattern: what a text must hold for it to match. Searching for all patterns at once is slow; few texts need it."""


def hide(text: str, *, quotations: bool = True, names: tuple[str, ...] = ()) -> tuple[str, list[str]]:
    """(the text with a HOLE for each span, the spans). names: strings that are taken out wherever they stand."""
    pattern = _pattern(tuple(part for part, sign in _PARTS.items() if sign.search(text)), quotations, names)
    spans: list[str] = []
    pieces: list[str] = []
    end = 0
    for match in pattern.finditer(text):
        pieces.append(text[end : match.start()])
        spans.append(match.group())
        end = match.end()
    if not spans:
        return text, spans
    return HOLE.join([*pieces, text[end:]]), spans


@lru_cache
def _pattern(parts: tuple[str, ...], quotations: bool, names: tuple[str, ...]) -> re.Pattern[str]:
    longest_first = map(re.escape, sorted(names, key=len, reverse=True))
    return re.compile("|".join((_ODD, *parts, *([_QUOTATION] if quotations else []), *longest_first)))


def show(text: str, spans: Sequence[str]) -> str:
    """The text with its spans back in their holes."""
    if not spans:
        return text
    pieces = text.split(HOLE)
    return "".join(part for pair in zip(pieces, [*spans, ""], strict=True) for part in pair)
