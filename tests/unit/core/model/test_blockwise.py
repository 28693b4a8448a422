"""8-bit blockwise codes: what comes back is near, in every block, whatever its size. (tests/parity: bitsandbytes.)"""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hanlin.core.model.blockwise import BLOCK, dequantize, dynamic_map, num_blocks, quantize

NEAR = {True: 0.9 / 64 / 2, False: 0.9 / 128 / 2}
"""Half the widest gap between neighbours of the map; a bin adds at most its own width."""
BIN = 2 / 65535
SMALLEST = torch.finfo(torch.float32).tiny
"""What is smaller is as good as 0."""


@pytest.mark.parametrize("signed", [True, False])
def test_map_is_256_ascending_numbers_with_0_and_1(signed: bool):
    numbers = dynamic_map(signed)
    assert numbers.shape == (256,)
    assert bool((numbers.diff() > 0).all())
    assert 0.0 in numbers
    assert numbers[-1] == 1
    assert float(numbers[0]) == (pytest.approx(-0.993, abs=1e-3) if signed else 0)


@given(
    length=st.integers(1, 3 * BLOCK + 1),
    signed=st.booleans(),
    size=st.sampled_from([0.0, 1e-45, 1e-40, 1e-20, 1.0, 1e30]),
    seed=st.integers(0, 99),
)
def test_what_comes_back_is_near(length: int, signed: bool, size: float, seed: int):
    x = torch.randn(length, generator=torch.Generator().manual_seed(seed)) * size
    x = x if signed else x.abs()
    codes, ranges = quantize(x, signed)
    back = dequantize(codes, ranges, signed)
    assert codes.shape == back.shape == x.shape
    assert ranges.shape == (num_blocks(length),)
    for number, block in enumerate(x.split(BLOCK)):
        assert ranges[number] == block.abs().max()
    each = ranges.repeat_interleave(BLOCK)[:length]
    assert bool(((back - x).abs() <= each * (NEAR[signed] + BIN) + SMALLEST).all())


def test_blocks_do_not_see_each_other():
    x = torch.cat([torch.full((BLOCK,), 1e-6), torch.full((BLOCK,), 1e6)])
    assert torch.equal(dequantize(*quantize(x, True), True), x)


def test_a_block_of_zeros_stays_zero():
    codes, ranges = quantize(torch.zeros(BLOCK + 3), signed=True)
    assert not codes.any()
    assert not dequantize(codes, ranges, signed=True).any()
