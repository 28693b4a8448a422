"""Rounding at random: right on average, exact where nothing is to be rounded, and repeatable."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from hanlin.core.train import rounding
from hanlin.core.train.rounding import stochastic_round_

FLOATS = st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=1, max_size=40)


def rounded(source: Tensor, seed: int = 0) -> Tensor:
    target = torch.empty(source.shape, dtype=torch.bfloat16)
    stochastic_round_(target, source, torch.Generator().manual_seed(seed))
    return target


def neighbours(source: Tensor) -> tuple[Tensor, Tensor]:
    """The bfloat16 numbers towards zero and away from it, as float32."""
    bits = source.view(torch.int32) & -(2**16)
    return bits.view(torch.float32), (bits + 2**16).view(torch.float32)


@pytest.mark.parametrize("value", [1.001, -1.001, 3.14159, 1e-30, -2.5e20, 1e-40, 0.3])
def test_it_is_right_on_average(value: float) -> None:
    """The share rounded away from zero is the distance from the neighbour towards zero, within five deviations."""
    source = torch.full((400_000,), value)
    inner, outer = neighbours(source[:1])
    share = float((source[0].double() - inner.double()) / (outer.double() - inner.double()))
    found = rounded(source).float()
    assert set(found.unique().tolist()) <= {float(inner), float(outer)}
    up = float((found == outer).double().mean())
    assert abs(up - share) < 5 * math.sqrt(share * (1 - share) / source.numel()) + 1e-12


def test_neighbouring_numbers_are_rounded_independently() -> None:
    """Four numbers share one draw of 64 bits: no place in it leans, none follows another."""
    up = (rounded(torch.full((400_000,), 1 + 2**-8)).float() > 1).double().view(-1, 4)
    centred_N4 = up - 0.5
    covariance = centred_N4.T @ centred_N4 / len(up)
    assert (covariance - 0.25 * torch.eye(4)).abs().max() < 5 * 0.25 / math.sqrt(len(up))
    assert centred_N4.mean(0).abs().max() < 5 * 0.5 / math.sqrt(len(up))


@given(FLOATS, st.integers(0, 2**32))
def test_each_becomes_one_of_its_neighbours(values: list[float], seed: int) -> None:
    source = torch.tensor(values)
    inner, outer = neighbours(source)
    found = rounded(source, seed).float()
    assert ((found == inner) | (found == outer)).all()
    assert torch.equal(found.signbit(), source.signbit())


def test_what_bfloat16_has_stays() -> None:
    """All of its 65,536 numbers: zeros with their signs, subnormals, infinities; NaN stays NaN."""
    every = torch.arange(-(2**15), 2**15, dtype=torch.int32).to(torch.int16).view(torch.bfloat16)
    found = rounded(every.float())
    numbers = ~every.isnan()
    assert torch.equal(found.view(torch.int16)[numbers], every.view(torch.int16)[numbers])
    assert found[~numbers].isnan().all()


def test_every_nan_stays_one() -> None:
    """Also those whose payload lies in the lower half, and those a carry would turn into a zero."""
    bits = torch.tensor([0x7F800001, 0x7FFFFFFF, -1, -(2**31) + 0x7F800001, 0x7FC00000], dtype=torch.int32)
    for seed in range(50):
        assert rounded(bits.view(torch.float32).clone(), seed).isnan().all()


@pytest.mark.parametrize("shape", [(0,), (1,), (), (7, 5), (3, 2, 4), (131_075,)])
def test_the_generator_alone_decides(shape: tuple[int, ...]) -> None:
    source = torch.randn(shape, generator=torch.Generator().manual_seed(1))
    assert torch.equal(rounded(source, 5), rounded(source, 5))
    assert rounded(source, 5).shape == shape
    if source.numel() > 30:
        assert not torch.equal(rounded(source, 5), rounded(source, 6))


def test_pieces_get_noise_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rounding, "ON_PROCESSOR", 1000)
    up = rounded(torch.full((2000,), 1 + 2**-8)).float() > 1
    assert not torch.equal(up[:1000], up[1000:])


def test_small_steps_are_not_lost() -> None:
    """1,000 steps of a tenth of the spacing: rounding to the nearest never moves."""
    weight, generator = torch.ones(1000, dtype=torch.bfloat16), torch.Generator().manual_seed(0)
    for _ in range(1000):
        stochastic_round_(weight, weight.float() + 2**-7 / 10, generator)
    assert float(weight.float().mean()) == pytest.approx(1 + 1000 * 2**-7 / 10, rel=0.01)
