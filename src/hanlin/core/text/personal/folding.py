"""Full-width letters and digits, wide blanks and the many hyphens as ASCII, each character in its place.

So every recogniser is written once, for ASCII, and its spans hold for the original. (NFKC would move them: ㈱, ﬁ and
other characters become several.)
"""

from __future__ import annotations

import numpy as np

_BLANKS = "\u3000\u00a0\u2002\u2003\u2009"
_HYPHENS = "\u2010\u2011\u2012\u2013\u2014\u2015\u2212\ufe58\ufe63\uff0d"


def _table() -> np.ndarray:
    table = np.arange(0x10000, dtype="<u2")
    table[0xFF01:0xFF5F] = np.arange(0x21, 0x7F)
    table[[ord(blank) for blank in _BLANKS]] = ord(" ")
    table[[ord(hyphen) for hyphen in _HYPHENS]] = ord("-")
    return table


_ASCII = _table()


def fold(text: str) -> str:
    """The folded text, of the same length. Half surrogates pass as they are."""
    if text.isascii():
        return text
    units = np.frombuffer(text.encode("utf-16-le", "surrogatepass"), dtype="<u2")
    return _ASCII[units].tobytes().decode("utf-16-le", "surrogatepass")
