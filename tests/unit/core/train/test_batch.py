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


def packed_batch(rows: int) -> Batch:
    """Rows of two documents and two places of padding, with extras of other shapes."""
    ids = torch.arange(1, rows * 6 + 1).view(rows, 6)
    documents = torch.tensor([0, 0, 0, 1, -1, -1]).expand(rows, 6).contiguous()
    targets = torch.where(documents >= 0, ids + 1, IGNORED)
    extras = {"present": documents >= 0, "weights": torch.arange(rows * 12.0).view(rows, 6, 2), "sums": ids.sum(1)}
    return Batch(ids, targets, tuple(range(10, 10 + rows)), documents, extras)


def tensors_of(batch: Batch) -> dict[str, torch.Tensor]:
    found = {"ids": batch.ids_BT, "targets": batch.targets_BT, **batch.extras}
    return found if batch.documents_BT is None else {**found, "documents": batch.documents_BT}


@given(st.integers(1, 9), st.integers(1, 5), st.booleans())
def test_shares_are_even_and_together_the_batch(rows: int, world: int, is_packed: bool) -> None:
    """What fills up the last ones is trained nowhere and belongs to no document."""
    whole = packed_batch(rows)
    if not is_packed:
        whole = Batch(whole.ids_BT, whole.targets_BT, whole.rows)
    parts = [whole.share(rank, world) for rank in range(world)]
    assert len({part.ids_BT.shape for part in parts}) == 1
    assert sum(part.num_trained for part in parts) == whole.num_trained
    assert [row for part in parts for row in part.rows] == [*whole.rows]
    together = [tensors_of(part) for part in parts]
    for name, tensor in tensors_of(whole).items():
        joined = torch.cat([part[name] for part in together])
        assert torch.equal(joined[:rows], tensor) and joined.dtype == tensor.dtype
        filled = {"targets": IGNORED, "documents": -1}.get(name, 0)
        assert bool((joined[rows:] == filled).all())


def test_a_share_does_not_write_into_the_batch() -> None:
    whole = packed_batch(3)
    before = {name: tensor.clone() for name, tensor in tensors_of(whole).items()}
    whole.share(1, 2)
    assert all(torch.equal(tensor, before[name]) for name, tensor in tensors_of(whole).items())


@given(st.integers(1, 7), st.integers(1, 7))
def test_everything_is_split_alike(rows: int, at_once: int) -> None:
    whole = packed_batch(rows)
    parts = [tensors_of(part) for part in whole.split(at_once)]
    for name, tensor in tensors_of(whole).items():
        assert torch.equal(torch.cat([part[name] for part in parts]), tensor)


def test_what_is_read_and_what_is_trained() -> None:
    """A packed row's padding is read by no one; a plain row's is."""
    packed = packed_batch(3)
    assert (packed.num_read, packed.num_trained) == (12, 12)
    plain = Batch(packed.ids_BT, packed.targets_BT)
    assert (plain.num_read, plain.num_trained) == (18, 12)


def test_everything_goes_to_a_device() -> None:
    moved = packed_batch(2).to(torch.device("meta"))
    assert all(tensor.device.type == "meta" for tensor in tensors_of(moved).values())
    assert moved.rows == (10, 11)
    here = packed_batch(2)
    assert all(tensor is tensors_of(here)[name] for name, tensor in tensors_of(here.to(torch.device("cpu"))).items())
