"""Replay: the ratio is exact over any steps, both corpora are read in their own order, and nothing is read twice."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from toy import VOCAB, small_decoder

from hanlin.core.train.batch import IGNORED, Batch, rows_of_step
from hanlin.core.train.mixing import Mixed, join
from hanlin.core.train.objectives.causal import Causal

shares = st.floats(0.01, 0.99)


class Numbered:
    """Rows that all hold their own number; `wide` ones are longer than the rest."""

    def __init__(self, name: str, num_rows: int, batch_rows: int, seed: int = 0, wide: int = -1, width: int = 3):
        self.name, self.num_rows, self.batch_rows, self.seed = name, num_rows, batch_rows, seed
        self.wide, self.width = wide, width

    def __call__(self, step: int) -> Batch:
        rows = rows_of_step(step, self.batch_rows, self.num_rows, self.seed)
        width = self.width + 4 * (self.wide in rows)
        ids = torch.tensor(rows)[:, None].expand(-1, width)
        return Batch(ids, ids, tuple(rows), extras={"present": torch.ones_like(ids, dtype=torch.bool)})

    def describe(self, row: int) -> str:
        return f"{self.name}-{row}"

    def longest(self) -> int:
        return next(step for step in range(self.num_rows) if self(step).ids_BT.shape[1] > self.width)


def read(batches: Numbered | Mixed, steps: int) -> list[int]:
    return [row for step in range(steps) for row in batches(step).rows]


@given(shares, st.integers(1, 6), st.integers(0, 400), st.integers(1, 60))
def test_the_ratio_is_exact_over_any_steps(share: float, batch_rows: int, first: int, steps: int) -> None:
    mixed = Mixed(Numbered("new", 50, batch_rows), Numbered("old", 20, batch_rows), share)
    rows = [row for step in range(first, first + steps) for row in mixed(step).rows]
    assert len(rows) == steps * batch_rows
    assert abs(sum(row < 0 for row in rows) - share * len(rows)) < 1 + 1e-9


@given(shares, st.integers(1, 6), st.integers(0, 9))
def test_each_corpus_is_read_in_its_own_order(share: float, batch_rows: int, seed: int) -> None:
    new, old = Numbered("new", 50, batch_rows, seed), Numbered("old", 20, batch_rows, seed)
    rows = read(Mixed(new, old, share), 30)
    from_new, from_old = [row for row in rows if row >= 0], [-1 - row for row in rows if row < 0]
    assert from_new == read(new, 30)[: len(from_new)]
    assert from_old == read(old, 30)[: len(from_old)]


def test_a_step_is_a_pure_function_and_names_its_documents() -> None:
    mixed, other = (Mixed(Numbered("new", 50, 4), Numbered("old", 20, 4), 0.3) for _ in range(2))
    mixed(17)
    for step in (3, 0, 40):
        one, same = mixed(step), other(step)
        assert one.rows == same.rows and torch.equal(one.ids_BT, same.ids_BT)
        for ids, row in zip(one.ids_BT, one.rows):
            name = mixed.describe(row)
            assert name == (f"new-{row}" if row >= 0 else f"replay: old-{-1 - row}")
            assert int(ids[0]) == int(name.rpartition("-")[2])


@pytest.mark.parametrize(("wide_new", "wide_old"), [(31, -1), (-1, 13), (31, 13)])
def test_the_longest_step_reads_the_longest_rows(wide_new: int, wide_old: int) -> None:
    new = Numbered("new", 50, 4, wide=wide_new if wide_new >= 0 else 0, width=3 if wide_new >= 0 else 2)
    old = Numbered("old", 20, 4, wide=wide_old if wide_old >= 0 else 0, width=3 if wide_old >= 0 else 2)
    mixed = Mixed(new, old, 0.3)
    assert mixed(mixed.longest()).ids_BT.shape[1] == 7


@torch.no_grad()
def test_joining_changes_no_loss() -> None:
    """Rows of different lengths, packed ones too: the sum is that of each batch by itself."""
    model, random = small_decoder(), torch.Generator().manual_seed(0)
    batches = []
    for rows, width in ((2, 9), (1, 14), (3, 4)):
        ids, targets = (torch.randint(VOCAB, (rows, width), generator=random) for _ in range(2))
        documents = (torch.arange(width) >= width // 2).long().expand(rows, -1)
        batches.append(Batch(ids, targets, tuple(range(rows)), documents, {"kept": torch.ones(rows, width, 2)}))
    joined = join(batches)
    assert joined.ids_BT.shape == (6, 14) and joined.rows == (0, 1, 0, 0, 1, 2)
    assert joined.num_trained == sum(batch.num_trained for batch in batches)
    assert joined.extras["kept"].shape == (6, 14, 2) and float(joined.extras["kept"].sum()) == 2 * joined.num_trained
    assert (joined.documents_BT[3:, 4:] == -1).all() and (joined.targets_BT[3:, 4:] == IGNORED).all()
    apart = torch.stack([Causal()(model, batch) for batch in batches]).sum()
    assert torch.allclose(Causal()(model, joined), apart, rtol=1e-5)
