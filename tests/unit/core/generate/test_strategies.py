"""Each strategy by hand, and against its definition on many numbers."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hanlin.core.generate.strategies import (
    frequency,
    min_p,
    no_repeat,
    repetition,
    temperature,
    top_k,
    top_p,
    typical,
)
from hanlin.core.generate.strategies.largest import largest, place_of_largest

# Few different values: ties.
COARSE = st.lists(st.integers(-3, 3).map(float), min_size=1, max_size=40).map(torch.tensor)
LARGE = [(seed, spread) for seed in range(4) for spread in (0.0, 0.5, 2.0, 8.0)]


def large_logits(seed: int, spread: float) -> torch.Tensor:
    return torch.randn(20_011, generator=torch.Generator().manual_seed(seed)) * spread


def test_by_hand() -> None:
    logits = torch.tensor([0.5, 0.3, 0.15, 0.05]).log()
    assert top_k.keep(logits, 2).tolist() == [0, 1]
    assert top_p.keep(logits, 0.75).tolist() == [0, 1]
    assert top_p.keep(logits, 0.85).tolist() == [0, 1, 2]
    assert min_p.keep(logits, 0.25).tolist() == [0, 1, 2]
    # Surprises 0.69, 1.20, 1.90, 3.00; to be expected are 1.14.
    assert typical.keep(logits, 0.2).tolist() == [1]
    assert typical.keep(logits, 0.4).tolist() == [0, 1]
    assert temperature.divide(logits, 0.5).softmax(-1).tolist() == pytest.approx(
        [p * p / 0.365 for p in (0.5, 0.3, 0.15, 0.05)], abs=1e-5
    )


def test_penalties_by_hand() -> None:
    logits = torch.tensor([2.0, -2.0, 1.0])
    assert repetition.penalise(logits, torch.tensor([0, 1, 1, 0]), 2.0).tolist() == [1.0, -4.0, 1.0]
    assert frequency.penalise(logits, torch.tensor([0, 2, 2]), 0.25, 1.0).tolist() == [0.75, -2.0, -0.5]
    assert logits.tolist() == [2.0, -2.0, 1.0], "the caller's numbers stay"


def test_no_repeat_by_hand() -> None:
    def forbidden(seen: list[int], n: int) -> list[int]:
        return (
            no_repeat.forbid(torch.zeros(6), torch.tensor(seen, dtype=torch.long), n).isinf().nonzero()[:, 0].tolist()
        )

    assert forbidden([1, 2, 3, 1, 2], 3) == [3]
    assert forbidden([1, 2, 3, 1, 2, 4, 1, 2], 3) == [3, 4]
    assert forbidden([1, 2, 3, 1, 2], 2) == [3]
    assert forbidden([1, 2, 3, 1], 1) == [1, 2, 3]
    assert forbidden([2, 2], 2) == [2]
    assert forbidden([1, 2], 3) == forbidden([1, 2], 2) == forbidden([], 1) == []


@given(st.lists(st.integers(0, 2), max_size=40), st.integers(1, 4))
def test_no_run_comes_twice(prompt: list[int], n: int) -> None:
    """Go on as long as something is left: every run of n tokens in what was written is new."""
    seen = list(prompt)
    for _ in range(30):
        left = no_repeat.forbid(torch.zeros(3), torch.tensor(seen, dtype=torch.long), n).isfinite().nonzero()[:, 0]
        if not len(left):
            break
        seen.append(int(left[0]))
    runs = [tuple(seen[i : i + n]) for i in range(len(seen) - n + 1)]
    written = runs[max(0, len(prompt) - n + 1) :]
    assert all(runs.count(run) == 1 for run in written)


@given(COARSE, st.integers(1, 50))
def test_top_k_keeps_all_that_equal_the_last(logits: torch.Tensor, k: int) -> None:
    last = sorted(logits.tolist(), reverse=True)[min(k, len(logits)) - 1]
    assert top_k.keep(logits, k).tolist() == [i for i, z in enumerate(logits.tolist()) if z >= last]


@given(COARSE, st.floats(0.01, 1, exclude_max=True))
def test_top_p_is_the_smallest_set(logits: torch.Tensor, p: float) -> None:
    kept = top_p.keep(logits, p)
    shares, ascending = logits.double().softmax(-1), kept.sort().values
    assert kept.equal(ascending) and len(kept.unique()) == len(kept) > 0
    assert shares[kept].sum() >= p - 1e-6
    assert shares[kept].sum() - shares[kept].min() < p + 1e-6
    others = torch.ones_like(logits, dtype=torch.bool).index_fill(0, kept, False)
    assert not others.any() or logits[others].max() <= logits[kept].min()
    tied = others & (logits == logits[kept].min())
    assert not tied.any() or tied.nonzero().max() < kept[logits[kept] == logits[kept].min()].min(), "the last stay"


@pytest.mark.parametrize("p", [0.05, 0.5, 0.95, 0.9999])
@pytest.mark.parametrize("seed, spread", LARGE)
def test_top_p_of_many(seed: int, spread: float, p: float) -> None:
    """The same set as from sorting all, whether a few of the likeliest reach p, or a bin has to be found, or all are
    equal."""
    logits = large_logits(seed, spread)
    ascending, order = logits.double().sort(stable=True)
    outside = ascending.softmax(-1).cumsum(-1) <= 1 - p
    expected, kept = order[~outside].sort().values, top_p.keep(logits, p)
    # Of 20,011 numbers a sum may come so near to p that rounding decides about one.
    assert abs(len(expected) - len(kept)) <= 1
    assert len(set(expected.tolist()) ^ set(kept.tolist())) <= 1


@pytest.mark.parametrize("mass", [0.05, 0.5, 0.95])
@pytest.mark.parametrize("seed, spread", LARGE)
def test_typical_of_many(seed: int, spread: float, mass: float) -> None:
    logits = large_logits(seed, spread).double()
    log_shares = logits.log_softmax(-1)
    distance = (-log_shares + (log_shares.exp() * log_shares).sum()).abs()
    nearest = distance.argsort()
    needed = min(int((log_shares.exp()[nearest].cumsum(-1) < mass).sum()), len(nearest) - 1)
    # At spread 0 all are as near but for rounding.
    expected = (distance <= distance[nearest[needed]] + 1e-12).nonzero()[:, 0]
    if spread:
        assert typical.keep(logits, mass).equal(expected)
    else:
        assert len(typical.keep(logits, mass)) >= mass * len(logits)


@given(st.lists(st.integers(-20, 20).map(float), min_size=1, max_size=900).map(torch.tensor), st.integers(1, 8))
def test_largest(values: torch.Tensor, k: int) -> None:
    k = min(k, len(values))
    found, places = largest(values, k)
    assert found.equal(values.topk(k).values)
    assert values[places].equal(found) and len(places.unique()) == k


@pytest.mark.parametrize("size", [1, 512, 700, 4096])
def test_the_place_of_the_largest_is_the_first(size: int) -> None:
    values = torch.randint(0, 50, (size,), generator=torch.Generator().manual_seed(size)).float()
    assert place_of_largest(values).equal(values.argmax())


def test_masked_tokens_never_come_back() -> None:
    logits = large_logits(0, 2.0)
    logits[::2] = -torch.inf
    for kept in (top_k.keep(logits, 50), top_p.keep(logits, 0.9), min_p.keep(logits, 0.01), typical.keep(logits, 0.9)):
        assert logits[kept].isfinite().all()
