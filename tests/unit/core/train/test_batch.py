"""Data order: a pure function of (seed, step), every epoch a permutation."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st

from hanlin.core.train import batch as module
from hanlin.core.train.batch import IGNORED, Batch, epoch_order, rows_of_step

SEEDS = st.integers(0, 2**31)


@given(st.integers(1, 40), st.integers(1, 9), SEEDS)
def test_every_epoch_reads_each_row_once(num_rows: int, batch_rows: int, seed: int) -> None:
    steps = -(-3 * num_rows // batch_rows)
    read = [row for step in range(steps) for row in rows_of_step(step, batch_rows, num_rows, seed)]
    for epoch in range(3):
        assert sorted(read[epoch * num_rows : (epoch + 1) * num_rows]) == list(range(num_rows))


@given(st.integers(1, 40), st.integers(1, 9), SEEDS, st.lists(st.integers(0, 60), min_size=1, max_size=8))
def test_a_step_reads_the_same_rows_whatever_was_read_before(
    num_rows: int, batch_rows: int, seed: int, steps: list[int]
) -> None:
    module._orders.clear()
    alone = rows_of_step(steps[-1], batch_rows, num_rows, seed)
    for step in steps:
        after = rows_of_step(step, batch_rows, num_rows, seed)
    assert after == alone


def test_seeds_and_epochs_have_orders_of_their_own() -> None:
    orders = {tuple(epoch_order(seed, epoch, 50).tolist()) for seed in range(3) for epoch in range(3)}
    assert len(orders) == 9


def test_few_orders_are_kept() -> None:
    for epoch in range(50):
        epoch_order(1, epoch, 10)
    assert len(module._orders) <= 4


@given(st.integers(1, 9), st.integers(1, 9))
def test_micro_batches_are_the_batch(rows: int, at_once: int) -> None:
    ids = torch.arange(rows * 3).view(rows, 3)
    targets = torch.where(ids % 2 == 0, ids, IGNORED)
    whole = Batch(ids, targets, tuple(range(rows)))
    parts = whole.split(at_once)
    assert all(1 <= part.ids_BT.shape[0] <= at_once for part in parts)
    assert torch.equal(torch.cat([part.ids_BT for part in parts]), ids)
    assert torch.equal(torch.cat([part.targets_BT for part in parts]), targets)
    assert [row for part in parts for row in part.rows] == list(range(rows))
    assert sum(part.num_trained for part in parts) == whole.num_trained == int((ids % 2 == 0).sum())
