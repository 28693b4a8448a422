"""Adapters of matrices that a checkpoint keeps in one: joined and cut, they change the same numbers."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st

from hanlin.core.model.adapters.fused import cut, fuse
from hanlin.core.model.adapters.lora import Adapter
from hanlin.core.model.weights import Part, join

WIDTH = 6


@st.composite
def cases(draw: st.DrawFn):
    """(parts, rows of each, adapters of some, whether DoRA)."""
    count, grouped = draw(st.integers(2, 3)), draw(st.booleans())
    names = ["q", "k", "v"][:count]
    group, transposed = (2 if grouped else 0), draw(st.booleans())
    rows = {name: 4 if grouped else draw(st.integers(1, 5)) for name in names}
    parts = [(name, Part("qkv", place, group=group, transposed=transposed)) for place, name in enumerate(names)]
    chosen = draw(st.lists(st.sampled_from(names), min_size=1, unique=True))
    dora, seed = draw(st.booleans()), draw(st.integers(0, 99))
    random = torch.Generator().manual_seed(seed)
    adapters = {}
    for name in names:
        if name in chosen:
            rank = draw(st.integers(1, 3))
            A, B = torch.randn(rank, WIDTH, generator=random), torch.randn(rows[name], rank, generator=random)
            magnitude = torch.rand(rows[name], generator=random) + 1 if dora else None
            adapters[name] = Adapter(A, B, draw(st.sampled_from([0.5, 2.0])), magnitude)
    return parts, rows, adapters, dora


def change(adapter: Adapter) -> torch.Tensor:
    return adapter.scale * adapter.lora_B @ adapter.lora_A


@given(cases())
def test_fused_is_the_matrix_of_the_parts(case) -> None:
    parts, rows, adapters, dora = case
    fused = fuse(adapters, parts, rows, lambda name: torch.full((rows[name],), 7.0))
    changes = {name: change(adapters[name]) if name in adapters else torch.zeros(rows[name], WIDTH) for name in rows}
    wanted = join(parts, changes)
    wanted = wanted.mT if parts[0][1].transposed else wanted
    torch.testing.assert_close(change(fused), wanted, rtol=1e-5, atol=1e-5)
    assert fused.rank == sum(adapter.rank for adapter in adapters.values())
    again = cut(fused, parts, rows)
    for name, adapter in again.items():
        torch.testing.assert_close(change(adapter), changes[name], rtol=1e-5, atol=1e-5)
        if name in adapters:
            assert adapter.rank == adapters[name].rank
        if dora:
            own = adapters[name].magnitude if name in adapters else torch.full((rows[name],), 7.0)
            torch.testing.assert_close(adapter.magnitude, own)
    assert set(again) == (set(rows) if dora else set(adapters))


@given(cases())
def test_one_a_stays_one(case) -> None:
    """An adapter that PEFT learned of the fused matrix keeps its rank on the way through."""
    parts, rows, _, _ = case
    fused = Adapter(torch.randn(3, WIDTH), torch.randn(sum(rows.values()), 3), 2.0)
    again = fuse(cut(fused, parts, rows), parts, rows, lambda name: torch.empty(0))
    assert torch.equal(again.lora_A, fused.lora_A) and torch.equal(again.lora_B, fused.lora_B)
    assert again.scale == fused.scale


def test_a_fresh_adapter_stays_whole() -> None:
    """B is 0 everywhere: nothing says whose its columns are, so all are kept, and training can go on."""
    parts = [("q", Part("qkv", 0)), ("k", Part("qkv", 1))]
    found = cut(Adapter(torch.randn(4, WIDTH), torch.zeros(5, 4), 1.0), parts, {"q": 3, "k": 2})
    assert {name: adapter.rank for name, adapter in found.items()} == {"q": 4, "k": 4}
