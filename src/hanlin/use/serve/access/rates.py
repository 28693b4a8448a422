"""How much in any span of time: a sliding window, kept exactly. A token bucket of the same limit lets twice as much
through where a burst meets its refill; this never does."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable


class Window:
    """What was taken within the last `span_seconds`.

    grain_seconds: amounts taken within the same grain are kept as one and leave together, when the last of them may;
    so memory is bounded by span / grain. 0 keeps each by itself. Times are given by the caller, in seconds of one
    clock; a clock that is set back makes amounts stay longer, never shorter.
    """

    def __init__(self, span_seconds: float, grain_seconds: float = 0.0):
        self._span, self._grain = span_seconds, grain_seconds
        self._entries: deque[list[float]] = deque()
        """[when it leaves, amount], the next to leave first."""
        self.used = 0.0

    def wait_seconds(self, amount: float, limit: float, now: float) -> float:
        """How long until `amount` fits under `limit`: 0 for at once, infinity for never."""
        self._forget(now)
        over = self.used + amount - limit
        if over <= 0:
            return 0.0
        if amount > limit:
            return math.inf
        for leaves, freed in self._entries:
            over -= freed
            if over <= 0:
                return leaves - now
        raise AssertionError("all entries together are what is used")

    def take(self, amount: float, now: float) -> float:
        """Count an amount, whatever the limit. Comes back: when it leaves, which `give_back` asks for."""
        self._forget(now)
        end = (math.floor(now / self._grain) + 1) * self._grain if self._grain else now
        leaves = end + self._span
        if self._entries and self._entries[-1][0] >= leaves:
            leaves = self._entries[-1][0]
            self._entries[-1][1] += amount
        else:
            self._entries.append([leaves, amount])
        self.used += amount
        return leaves

    def give_back(self, amount: float, leaves: float) -> None:
        """Of what was taken, this much was not needed. Nothing to do where it has left already."""
        for entry in reversed(self._entries):
            if entry[0] == leaves:
                entry[1] -= amount
                self.used -= amount
                return

    def reset_seconds(self, now: float) -> float:
        """How long until nothing is counted any more."""
        self._forget(now)
        return self._entries[-1][0] - now if self._entries else 0.0

    def restore(self, entries: Iterable[tuple[float, float]]) -> None:
        """Go on with what an earlier window knew: (when it leaves, amount)."""
        for leaves, amount in sorted(entries):
            self._entries.append([leaves, amount])
            self.used += amount

    def _forget(self, now: float) -> None:
        while self._entries and self._entries[0][0] <= now:
            self.used -= self._entries.popleft()[1]
