"""What a training step reads: ids and targets. Data order is a pure function of (seed, counter)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import torch

IGNORED = -100
"""A target that is not trained: a prompt's token, or padding."""


@dataclass(frozen=True)
class Batch:
    """ids (B, T) int64, targets (B, T) int64 with IGNORED where nothing is trained; rows name the documents."""

    ids_BT: torch.Tensor
    targets_BT: torch.Tensor
    rows: tuple[int, ...] = field(default=())

    @property
    def num_trained(self) -> int:
        return int((self.targets_BT != IGNORED).sum())

    def split(self, rows: int) -> list[Batch]:
        """Micro-batches of at most `rows` rows."""
        return [
            Batch(self.ids_BT[i : i + rows], self.targets_BT[i : i + rows], self.rows[i : i + rows])
            for i in range(0, self.ids_BT.shape[0], rows)
        ]


class Batches(Protocol):
    """The batch of a step: the same step always gives the same batch, so a resumed run reads on where it stopped."""

    def __call__(self, step: int) -> Batch: ...

    def describe(self, row: int) -> str: ...


def rows_of_step(step: int, batch_rows: int, num_rows: int, seed: int) -> list[int]:
    """Which rows step `step` reads: every epoch is a permutation of its own, batches run on over its end."""
    first = step * batch_rows
    return [
        int(epoch_order(seed, place // num_rows, num_rows)[place % num_rows])
        for place in range(first, first + batch_rows)
    ]


_orders: dict[tuple[int, int, int], np.ndarray] = {}


def epoch_order(seed: int, epoch: int, num_rows: int) -> np.ndarray:
    """The permutation of an epoch, kept for the current and the next one."""
    key = (seed, epoch, num_rows)
    if key not in _orders:
        while len(_orders) >= 4:
            _orders.pop(next(iter(_orders)))
        _orders[key] = np.random.Generator(np.random.Philox(key=[seed, epoch])).permutation(num_rows)
    return _orders[key]
