"""Tokens as UTF-8, all of a vocabulary at once: where characters begin, which are whole, what is left over."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

_LENGTHS = np.repeat([1, 0, 2, 3, 4, 0], [0x80, 0x42, 0x1E, 0x10, 0x05, 0x0B])
"""Bytes of the character that a byte begins; 0 for those that begin none: continuations, C0, C1, and F5 onward."""
_SHORTEST = np.array([0, 0, 0x80, 0x800, 0x10000])
"""The least code point that needs so many bytes: a longer form of it is no UTF-8."""
_MOST = 3
"""Continuation bytes of the longest character."""


@dataclass(frozen=True)
class Split:
    """num_continuing_V: continuation bytes at a token's beginning, which end a character begun before.
    good_V: the rest is UTF-8 without the characters looked for. tails: bytes of a character begun at a token's end."""

    num_continuing_V: np.ndarray
    good_V: np.ndarray
    tails: dict[int, bytes]


def char_length(lead: int) -> int:
    """Bytes of the character that begins with this byte; 0 where none does."""
    return int(_LENGTHS[lead])


def pending_bytes(text: bytes) -> bytes:
    """The begun character at the end; b"" where the last one is whole."""
    for count in range(1, min(_MOST, len(text)) + 1):
        lead = text[-count]
        if not _continues(lead):
            return text[-count:] if char_length(lead) > count else b""
    return b""


def split_tokens(texts: list[bytes], unwanted: Iterable[str]) -> Split:
    """unwanted: characters that make a token bad."""
    sizes_V = np.fromiter(map(len, texts), np.int64, len(texts))
    ends_V = sizes_V.cumsum()
    # The padding is neither a lead nor a continuation byte, and stops every run at the end.
    bytes_N = np.frombuffer(b"".join(texts) + b"\xff" * (_MOST + 1), np.uint8).astype(np.int64)
    token_N = np.repeat(np.arange(len(texts)), sizes_V)
    continues_N = _continues(bytes_N)
    leads = np.flatnonzero(~continues_N[: len(token_N)])
    ends = ends_V[token_N[leads]]

    lengths, following = _LENGTHS[bytes_N[leads]], np.zeros(len(leads), np.int64)
    codes = bytes_N[leads] & np.array([0, 0x7F, 0x1F, 0x0F, 0x07])[lengths]
    running = np.ones(len(leads), bool)
    for step in range(1, _MOST + 2):
        running &= continues_N[leads + step] & (leads + step < ends)
        following += running
        inside = running & (step < lengths)
        codes = np.where(inside, codes << 6 | bytes_N[leads + step] & 0x3F, codes)

    whole = following == lengths - 1
    begun = (following < lengths - 1) & (leads + following + 1 == ends)
    wanted = ~np.isin(codes, [ord(character) for character in unwanted])
    valid = (codes >= _SHORTEST[lengths]) & (codes < 0x110000) & ~((codes >= 0xD800) & (codes < 0xE000))
    bad = ~((whole & valid & wanted) | begun)

    first_V = np.full(len(texts), np.iinfo(np.int64).max)
    np.minimum.at(first_V, token_N[leads], leads)
    num_continuing_V = np.minimum(first_V, ends_V) - (ends_V - sizes_V)
    good_V = (sizes_V > 0) & (num_continuing_V <= _MOST)
    good_V[token_N[leads[bad]]] = False
    tails = {int(token_N[lead]): bytes(bytes_N[lead:end].tolist()) for lead, end in zip(leads[begun], ends[begun])}
    return Split(num_continuing_V, good_V, tails)


def _continues(byte: Any) -> Any:
    """Of one byte, or of an array of them."""
    return (byte & 0xC0) == 0x80
