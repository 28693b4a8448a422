"""Several documents in a row, so that little is spent on padding: best-fit decreasing. Ding et al. 2024, "Fewer
truncations improve language modeling", https://arxiv.org/abs/2404.10830, section 2.

The longest document first, each into the row where it leaves the least space, into a new row where it fits into none.
That takes at most 11/9 of the fewest rows there could be, and four (Johnson et al. 1974); in practice hardly more than
the fewest. Documents stay whole and hidden from each other (core/model/reading.py): the loss is that of each alone.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch

from hanlin.core.train.batch import IGNORED, Batch, epoch_order
from hanlin.core.train.conversations import Example

POOL_ROWS = 64
"""Rows that are filled from one pool of examples: nearly full, and in other company every epoch."""


class Packed:
    """Batches of rows of `context` tokens, each filled with the examples that fit.

    An epoch is a function of (seed, epoch) alone: all examples once, shuffled, packed pool by pool, the rows shuffled
    again. Epochs differ in their number of rows; the last batch of each may be smaller.
    """

    def __init__(self, examples: Sequence[Example], batch_rows: int, seed: int, pad_id: int, context: int):
        """Raises ValueError for an example longer than a row."""
        self.examples, self.batch_rows, self.seed, self.pad_id = examples, batch_rows, seed, pad_id
        self.lengths = [len(example.ids) - 1 for example in examples]
        self.context = min(context, sum(self.lengths))
        self._epochs: dict[int, list[list[int]]] = {}
        self._first_steps = [0]
        self._first_step(1)

    @property
    def batches_per_epoch(self) -> int:
        """Of the first epoch; others are about as long."""
        return self._first_steps[1]

    def __call__(self, step: int) -> Batch:
        first = step * self.batch_rows
        rows = self._rows(step)
        filled = [[self.examples[number] for number in row] for row in rows]
        return pack(filled, self.context, self.pad_id, tuple(range(first, first + len(rows))))

    def examples_of(self, row: int) -> list[int]:
        """The examples a row holds, in their order."""
        step, place = divmod(row, self.batch_rows)
        return self._rows(step)[place]

    def describe(self, row: int) -> str:
        names = [self.examples[number].name for number in self.examples_of(row)]
        return " + ".join(names[:3] + [f"{len(names) - 3} more"] * (len(names) > 3))

    def longest(self) -> int:
        """All rows are equally wide, so it is the step with the most rows, and of those with the longest example."""

        def size(step: int) -> tuple[int, int]:
            rows = self._rows(step)
            return len(rows), max(self.lengths[number] for row in rows for number in row)

        return max(range(self.batches_per_epoch), key=size)

    def _rows(self, step: int) -> list[list[int]]:
        """The rows a step reads, each a list of examples."""
        while self._first_steps[-1] <= step:
            self._first_step(len(self._first_steps))
        epoch = bisect_right(self._first_steps, step) - 1
        first = (step - self._first_steps[epoch]) * self.batch_rows
        return self._epoch(epoch)[first : first + self.batch_rows]

    def _first_step(self, epoch: int) -> None:
        """Note where an epoch begins: after all batches of those before."""
        num_rows = len(self._epoch(epoch - 1))
        self._first_steps.append(self._first_steps[-1] + -(-num_rows // self.batch_rows))

    def _epoch(self, epoch: int) -> list[list[int]]:
        """All its rows; those of two epochs are kept."""
        if epoch not in self._epochs:
            if len(self._epochs) > 1:
                self._epochs.pop(next(iter(self._epochs)))
            self._epochs[epoch] = self._plan(epoch)
        return self._epochs[epoch]

    def _plan(self, epoch: int) -> list[list[int]]:
        order = epoch_order(self.seed, epoch, len(self.examples))
        pool_of = (np.array(self.lengths)[order].cumsum() - 1) // (POOL_ROWS * self.context)
        rows: list[list[int]] = []
        for pool in np.split(order, np.flatnonzero(np.diff(pool_of)) + 1):
            filled = best_fit([self.lengths[number] for number in pool], self.context)
            rows += [[int(pool[place]) for place in row] for row in filled]
        shuffle = np.random.Generator(np.random.Philox(key=[self.seed, epoch + 2**32])).permutation(len(rows))
        return [rows[place] for place in shuffle]


def best_fit(lengths: Sequence[int], capacity: int) -> list[list[int]]:
    """The places of `lengths` in rows that hold at most `capacity` together. Raises ValueError for a length that is not
    between 1 and `capacity`."""
    rows: list[list[int]] = []
    with_space: dict[int, list[int]] = {}
    spaces: list[int] = []  # the keys of with_space in ascending order
    for place in sorted(range(len(lengths)), key=lambda place: -lengths[place]):
        length = lengths[place]
        if not 0 < length <= capacity:
            raise ValueError(f"{length} tokens do not fit a row of {capacity}")
        at = bisect_left(spaces, length)
        if at == len(spaces):
            row, space = len(rows), capacity
            rows.append([])
        else:
            space = spaces[at]
            row = with_space[space].pop()
            if not with_space[space]:
                del with_space[space], spaces[at]
        rows[row].append(place)
        left = space - length
        if left and left not in with_space:
            insort(spaces, left)
        if left:
            with_space.setdefault(left, []).append(row)
    return rows


def pack(rows: Sequence[Sequence[Example]], width: int, pad_id: int, numbers: tuple[int, ...] = ()) -> Batch:
    """Examples one behind the other, padded to `width`. An example's last token is a target alone, so no row holds it,
    and no target belongs to the next example."""
    ids_BT = torch.full((len(rows), width), pad_id)
    targets_BT = torch.full((len(rows), width), IGNORED)
    documents_BT = torch.full((len(rows), width), -1)
    for place, row in enumerate(rows):
        first = 0
        for number, example in enumerate(row):
            ids = torch.tensor(example.ids)
            part = slice(first, first + len(ids) - 1)
            ids_BT[place, part] = ids[:-1]
            targets_BT[place, part] = torch.where(torch.tensor(example.trained[1:]), ids[1:], IGNORED)
            documents_BT[place, part] = number
            first = part.stop
    return Batch(ids_BT, targets_BT, numbers, documents_BT)


def token_micro_batches(batch: Batch, most_tokens: int) -> list[Batch]:
    """The batch's rows in micro-batches of at most `most_tokens` tokens, padding included, but of one row at least.

    Rows of similar length come together, the longest first, and what is padding in all of them is cut off: the same
    sums and gradients with less arithmetic.
    """
    lengths_B = row_lengths(batch)
    order = lengths_B.argsort(descending=True, stable=True).tolist()
    micros = []
    while order:
        width = max(1, int(lengths_B[order[0]]))
        rows = max(1, most_tokens // width)
        micros.append(_trimmed(batch, order[:rows], width))
        order = order[rows:]
    return micros


def row_lengths(batch: Batch) -> torch.Tensor:
    """(B,): tokens of each row up to the last that matters: that has a target, belongs to a document, or that something
    of the row's width and true or false (`present`) says is there."""
    matters_BT = batch.targets_BT != IGNORED
    if batch.documents_BT is not None:
        matters_BT = matters_BT | (batch.documents_BT >= 0)
    for extra in batch.extras.values():
        if extra.dtype == torch.bool and extra.shape == matters_BT.shape:
            matters_BT = matters_BT | extra
    return (matters_BT * torch.arange(1, matters_BT.shape[1] + 1)).amax(dim=1)


def _trimmed(batch: Batch, rows: list[int], width: int) -> Batch:
    """Some rows, and of everything as wide as them the first `width` places."""

    def part(tensor: torch.Tensor) -> torch.Tensor:
        chosen = tensor[rows]
        return chosen[:, :width] if tensor.shape[:2] == batch.ids_BT.shape else chosen

    return replace(
        batch,
        ids_BT=part(batch.ids_BT),
        targets_BT=part(batch.targets_BT),
        rows=tuple(batch.rows[row] for row in rows) if batch.rows else (),
        documents_BT=None if batch.documents_BT is None else part(batch.documents_BT),
        extras={name: part(tensor) for name, tensor in batch.extras.items()},
    )
