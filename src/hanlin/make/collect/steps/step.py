"""What a step of collect is: rows in, rows out; a row that is dropped stays, and bears its reason.

A step is a module of this folder, named as recipes name it, with options in ../options (listed in config.py) and

    def make(options: Near, context: Context) -> RowStep | Survey    called once in every process
    def prepare(options: Near, context: Context, emit: Emit) -> None    optional: once, before all, in the main process;
                                                                     what it leaves in context.work, make may open

It is handed kept rows alone, a shard at a time (a list of some million characters). It returns each of them, changed or
not, in their order, `reason` set on those it drops, and may add new rows. It changes nothing but what it returns, and
depends on nothing but its options, its inputs, the seed and the rows: so shards can be worked on anywhere, in any
order.
What it found out about a row it leaves in `row.notes[step name]`: the report adds up counts ({"pages": 2}) and draws
numbers (0.87) as histograms. `row.notes["facts"]` is what the reader knows of the row (title, glosses), for builders.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from hanlin.core.run.artifact import Artifact
from hanlin.core.text.documents import Row

if TYPE_CHECKING:
    from hanlin.make.collect.config import Collect


@dataclass(frozen=True)
class Context:
    """What surrounds a step. inputs: of the room. work: a folder for what `prepare` leaves (this step's alone). config:
    of the room, for steps that read other inputs as the sources are read."""

    inputs: Mapping[str, Artifact]
    work: Path
    seed: int = 0
    config: Collect | None = None

    def all_inputs(self, name: str) -> list[Artifact]:
        """The inputs `name`, or `name.0`, `name.1`, … in order; [] where there is none."""
        found = [key for key in self.inputs if key == name or key.rpartition(".")[0] == name]
        return [self.inputs[key] for key in sorted(found, key=lambda key: int(key.partition(".")[2] or 0))]


RowStep = Callable[[list[Row]], Iterable[Row]]
"""A step that needs to see no more than the rows of one shard."""

Findings = dict[str, np.ndarray]
"""What crosses from shard to shard: named arrays (no objects), kept as .npz."""


class Survey(ABC):
    """A step that must know the whole corpus before it judges a row: look at each shard, decide once, apply."""

    @abstractmethod
    def look(self, rows: list[Row]) -> Findings:
        """What has to be known of a shard's kept rows, as small as can be. Runs in any process."""

    @abstractmethod
    def decide(self, looks: Sequence[Findings]) -> Iterable[Findings]:
        """The verdict on each shard, in order, from what was seen in all of them (each access reads a file). Runs
        once, in the main process."""

    @abstractmethod
    def apply(self, rows: list[Row], verdict: Findings) -> Iterable[Row]:
        """The same rows that `look` saw, by their verdict. Runs in any process."""
