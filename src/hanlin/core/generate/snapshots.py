"""Beginnings of texts as recurrent models keep them: a copy of the state after so many tokens, found again by them."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

import torch

States = list[list[torch.Tensor]]
Beginning = tuple[str, tuple[int, ...]]
"""The adapter a text was read with, "" for none, and its tokens."""


class Snapshots:
    """The last `limit` beginnings, the one unused longest forgotten first. Their memory doesn't grow with length."""

    def __init__(self, limit: int = 32):
        self.limit = limit
        self._kept: OrderedDict[Beginning, States] = OrderedDict()

    def keep(self, tokens: Sequence[int], states: States, adapter: str = "") -> None:
        """States are never written into, so they are kept and not copied."""
        beginning = (adapter, tuple(tokens))
        self._kept[beginning] = states
        self._kept.move_to_end(beginning)
        if len(self._kept) > self.limit:
            self._kept.popitem(last=False)

    def find(self, tokens: Sequence[int], adapter: str = "") -> tuple[int, States] | None:
        """The longest one that `tokens` begin with: its length and states."""
        lengths = {len(known) for read_with, known in self._kept if read_with == adapter}
        for length in sorted((length for length in lengths if length <= len(tokens)), reverse=True):
            known = (adapter, tuple(tokens[:length]))
            if known in self._kept:
                self._kept.move_to_end(known)
                return length, self._kept[known]
        return None
