"""Replay: continued pretraining that goes on reading some of the old text, so that it is not forgotten. Ibrahim et al.
2024, https://arxiv.org/abs/2403.08763.

Before step s, ⌊share · B · s⌋ of the B · s rows came from the old corpus, so over any steps the ratio is exact to
within one row. Each corpus is read in its own order, without a row left out.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import torch
import torch.nn.functional as F

from hanlin.core.train.batch import IGNORED, Batch, Batches


class Mixed:
    """share: of the rows, from `old`, between 0 and 1. Both have the same number of rows at every step.

    Rows keep their numbers; those of `old` are told from the others by being negative (−1 − row).
    """

    def __init__(self, new: Batches, old: Batches, share: float):
        self.new, self.old, self.share = new, old, share
        self.batch_rows = new(0).ids_BT.shape[0]
        assert old(0).ids_BT.shape[0] == self.batch_rows

    def __call__(self, step: int) -> Batch:
        first, last = self._old_rows(step), self._old_rows(step + 1)
        before, after = step * self.batch_rows, (step + 1) * self.batch_rows
        new = self._rows(self.new, before - first, after - last)
        old = self._rows(self.old, first, last)
        return join([*new, *(replace(row, rows=(-1 - row.rows[0],)) for row in old)])

    def describe(self, row: int) -> str:
        return self.new.describe(row) if row >= 0 else f"replay: {self.old.describe(-1 - row)}"

    def longest(self) -> int:
        """The step that reads the longest rows of the one corpus or of the other."""
        candidates = {
            self._reaches(self.new.longest() * self.batch_rows, of_old=False),
            self._reaches(self.old.longest() * self.batch_rows, of_old=True),
        }
        return max(sorted(candidates), key=lambda step: self(step).ids_BT.numel())

    def _old_rows(self, step: int) -> int:
        """How many rows of the old corpus are read before this step."""
        return int(self.share * self.batch_rows * step)

    def _rows(self, batches: Batches, first: int, last: int) -> Iterator[Batch]:
        """Rows `first` to `last` of all that `batches` would read, one step after another."""
        while first < last:
            step, place = divmod(first, self.batch_rows)
            count = min(last - first, self.batch_rows - place)
            yield from batches(step).split(1)[place : place + count]
            first += count

    def _reaches(self, row: int, of_old: bool) -> int:
        """The step that reads this row of the one corpus."""
        step = 0
        while self._read_before(step + 1, of_old) <= row:
            step += 1
        return step

    def _read_before(self, step: int, of_old: bool) -> int:
        old = self._old_rows(step)
        return old if of_old else step * self.batch_rows - old


def join(batches: Sequence[Batch]) -> Batch:
    """One batch of all rows. Shorter rows are padded on the right, where nothing is trained."""

    def together(tensors: Sequence[torch.Tensor], fill: int | bool) -> torch.Tensor:
        if tensors[0].ndim == 1:
            return torch.cat([*tensors])
        width = max(tensor.shape[1] for tensor in tensors)
        rest = (0, 0) * (tensors[0].ndim - 2)
        return torch.cat([F.pad(tensor, (*rest, 0, width - tensor.shape[1]), value=fill) for tensor in tensors])

    documents = [batch.documents_BT for batch in batches if batch.documents_BT is not None]
    assert len(documents) in (0, len(batches))
    return Batch(
        together([batch.ids_BT for batch in batches], 0),
        together([batch.targets_BT for batch in batches], IGNORED),
        tuple(row for batch in batches for row in batch.rows),
        together(documents, -1) if documents else None,
        {name: together([batch.extras[name] for batch in batches], 0) for name in batches[0].extras},
    )
