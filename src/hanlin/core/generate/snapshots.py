"""Beginnings of texts as recurrent models keep them: a copy of the state after so many tokens, found again by them."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

import torch

States = list[list[torch.Tensor]]


class Snapshots:
    """The last `limit` beginnings, the one unused longest forgotten first. Their memory doesn't grow with length."""

    def __init__(self, limit: int = 32):
        self.limit = limit
        self._kept: OrderedDict[tuple[int, ...], States] = OrderedDict()

    def keep(self, tokens: Sequence[int], states: States) -> None:
        """States are never written into, so they are kept and not copied."""
        self._kept[tuple(tokens)] = states
        self._kept.move_to_end(tuple(tokens))
        if len(self._kept) > self.limit:
            self._kept.popitem(last=False)

    def find(self, tokens: Sequence[int]) -> tuple[int, States] | None:
        """The longest one that `tokens` begin with: its length and states."""
        for length in sorted({len(known) for known in self._kept if len(known) <= len(tokens)}, reverse=True):
            known = tuple(tokens[:length])
            if known in self._kept:
                self._kept.move_to_end(known)
                return length, self._kept[known]
        return None
