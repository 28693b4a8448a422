"""What a training step reads: ids and targets. Data order is a pure function of (seed, counter)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Protocol

import numpy as np
import torch
import torch.nn.functional as F

from hanlin.core.model.cross_entropy import IGNORED


@dataclass(frozen=True)
class Batch:
    """ids (B, T) int64, targets (B, T) int64 with IGNORED where nothing is trained; rows name the documents.

    documents_BT: int64, which of a packed row's documents a token belongs to, counted from 0, padding −1; None where a
    row is one document with padding on the right at most. extras: what only one objective reads, (B, …) each.
    """

    ids_BT: torch.Tensor
    targets_BT: torch.Tensor
    rows: tuple[int, ...] = field(default=())
    documents_BT: torch.Tensor | None = None
    extras: Mapping[str, torch.Tensor] = field(default_factory=dict)

    @property
    def num_trained(self) -> int:
        return int((self.targets_BT != IGNORED).sum())

    @property
    def num_read(self) -> int:
        """Tokens the model reads: all places of the rows but a packed row's padding."""
        return self.ids_BT.numel() if self.documents_BT is None else int((self.documents_BT >= 0).sum())

    def split(self, rows: int) -> list[Batch]:
        """Micro-batches of at most `rows` rows."""
        return [self._rows(slice(i, i + rows)) for i in range(0, self.ids_BT.shape[0], rows)]

    def share(self, rank: int, world: int) -> Batch:
        """The rank's even part of the rows; where they don't divide, empty rows without a trained target fill up."""
        missing = -self.ids_BT.shape[0] % world
        each = (self.ids_BT.shape[0] + missing) // world
        whole = self._map(lambda tensor: F.pad(tensor, (0, 0) * (tensor.ndim - 1) + (0, missing)))
        if missing:
            whole.targets_BT[-missing:] = IGNORED
            if whole.documents_BT is not None:
                whole.documents_BT[-missing:] = -1
        return whole._rows(slice(rank * each, (rank + 1) * each))

    def to(self, device: torch.device) -> Batch:
        return self._map(lambda tensor: tensor.to(device))

    def _rows(self, rows: slice) -> Batch:
        return replace(self._map(lambda tensor: tensor[rows]), rows=self.rows[rows])

    def _map(self, change: Callable[[torch.Tensor], torch.Tensor]) -> Batch:
        documents = None if self.documents_BT is None else change(self.documents_BT)
        extras = {name: change(tensor) for name, tensor in self.extras.items()}
        return Batch(change(self.ids_BT), change(self.targets_BT), self.rows, documents, extras)


class Batches(Protocol):
    """The batch of a step: the same step always gives the same batch, so a resumed run reads on where it stopped."""

    def __call__(self, step: int) -> Batch: ...

    def describe(self, row: int) -> str: ...

    def longest(self) -> int:
        """The step of the first epoch whose batch takes the most memory: what a rehearsal trains on."""
        ...


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
