"""Choices that a keyed hash makes: equal for equal (seed, values), on every machine."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import TypeVar

Item = TypeVar("Item")


class Draw:
    """512 bits of BLAKE2b (RFC 7693), keyed with the seed, read as a number of changing base."""

    def __init__(self, seed: int, *values: object):
        text = "\0".join(map(str, values))
        self._number = int.from_bytes(hashlib.blake2b(text.encode(), key=str(seed).encode()[:64]).digest(), "big")

    def below(self, limit: int) -> int:
        """0 … limit − 1; uneven by less than 2⁻¹⁰⁰ for the lengths drawn here."""
        self._number, drawn = divmod(self._number, limit)
        return drawn

    def one_of(self, items: Sequence[Item]) -> Item:
        return items[self.below(len(items))]

    def digits(self, count: int) -> str:
        return "".join(str(self.below(10)) for _ in range(count))
