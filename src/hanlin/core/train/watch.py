"""What a person should hear of at once: a loss that jumps or runs away, a step that takes for ever, a disk that fills
up. The loop shows every step to a Watch, which speaks through the events."""

from __future__ import annotations

import shutil
import statistics
from collections import deque
from pathlib import Path

from hanlin.core.run.events import Emit

RECENT = 50
ENOUGH = 20
"""Steps before a judgement: fewer say nothing about what is usual."""

SPIKE_MADS = 6.0
SMALLEST_MAD = 0.02
"""Nats a token: a loss that hardly moves must not make every ripple a spike."""

STALL_TIMES = 10.0
STALL_SECONDS = 5.0

LOW_DISK_BYTES = 2 * 10**9

RUNAWAY_FACTOR, RUNAWAY_NATS = 1.25, 0.5
"""Of the first steps' median: a loss above this × + this is clearly worse."""
EXPLODED_FACTOR, EXPLODED_NATS = 3.0, 2.0
"""Of the very first step, which knows nothing of the learning rate. One batch alone: so a wider margin."""


class Watch:
    def __init__(self, emit: Emit, folder: Path):
        self.emit, self.folder = emit, folder
        self.first: list[float] = []
        self.losses: deque[float] = deque(maxlen=RECENT)
        self.seconds: deque[float] = deque(maxlen=RECENT)
        self._told_of_disk = self._spiking = False

    def seen(self, loss: float) -> None:
        """A step of an earlier run of the same work."""
        if len(self.first) < ENOUGH:
            self.first.append(loss)
        self.losses.append(loss)

    def step(self, step: int, loss: float, seconds: float, documents: str) -> None:
        self._spike(step, loss, documents)
        if len(self.seconds) >= ENOUGH:
            usual = statistics.median(self.seconds)
            if seconds > max(STALL_TIMES * usual, STALL_SECONDS):
                self._alert("stall", step, f"step {step} took {seconds:.1f} s, usually {usual:.2f} s")
        self.seen(loss)
        self.seconds.append(seconds)

    def _spike(self, step: int, loss: float, documents: str) -> None:
        """Said once, however many steps it lasts."""
        if len(self.losses) < ENOUGH:
            return
        usual = statistics.median(self.losses)
        spread = max(statistics.median(abs(x - usual) for x in self.losses), SMALLEST_MAD)
        was_spiking, self._spiking = self._spiking, loss > usual + SPIKE_MADS * spread
        if self._spiking and not was_spiking:
            text = f"step {step}: loss {loss:.3f}, usually {usual:.3f} ± {spread:.3f} (documents: {documents})"
            self._alert("spike", step, text)

    def runs_away(self) -> bool:
        """Whether the last steps are clearly worse than the first were: the rate is too high, and more of it won't
        help."""
        return len(self.losses) == RECENT and statistics.median([*self.losses][-ENOUGH:]) > self._limit()

    def is_good(self) -> bool:
        """Whether the last loss gives no reason to doubt the weights: others should not be overwritten by doubtful
        ones."""
        return not self._spiking and (not self.losses or self.losses[-1] <= self._limit())

    def _limit(self) -> float:
        """Of a loss that is not clearly worse than at the beginning."""
        began = statistics.median(self.first[:5])
        return min(RUNAWAY_FACTOR * began + RUNAWAY_NATS, EXPLODED_FACTOR * self.first[0] + EXPLODED_NATS)

    def disk(self, step: int) -> None:
        free = shutil.disk_usage(self.folder).free
        if free < LOW_DISK_BYTES and not self._told_of_disk:
            self._told_of_disk = True
            self._alert("disk", step, f"only {free / 1e9:.1f} GB are free where {self.folder} stands")

    def _alert(self, what: str, step: int, text: str) -> None:
        self.emit("alert", what=what, step=step, text=text)
