"""Planes of 4 bits: what the kernel multiplies is what the formula says; blocks of 4 bits are held by one plane."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from hanlin.core.generate.kernels.int4 import FEW_ROWS, GROUP, Int4Linear, decode, encode, fits, planes_of


def linear(weight: torch.Tensor, bias: bool = False) -> nn.Linear:
    made = nn.Linear(weight.shape[1], weight.shape[0], bias=bias)
    with torch.no_grad():
        made.weight.copy_(weight)
    return made


def relative(found: torch.Tensor, wanted: torch.Tensor) -> float:
    return float(((found - wanted).square().mean() / wanted.square().mean()).sqrt())


@given(seed=st.integers(0, 1000), planes=st.sampled_from([1, 2]), rows=st.integers(1, 9), bias=st.booleans())
@torch.no_grad()
def test_the_kernel_multiplies_what_the_codes_stand_for(seed: int, planes: int, rows: int, bias: bool) -> None:
    torch.manual_seed(seed)
    made = linear(torch.randn(32, 3 * GROUP), bias)
    coded = Int4Linear.from_linear(made, planes)
    x = torch.randn(rows, 3 * GROUP)
    assert relative(coded.dequantized(torch.float32), made.weight) < (0.12, 0.012)[planes - 1]
    matrix = coded.dequantized(torch.float32) if rows <= FEW_ROWS else made.weight  # many rows: in bfloat16
    assert relative(coded(x), x @ matrix.T + (made.bias if bias else 0)) < 0.01


@given(seed=st.integers(0, 1000), widest=st.sampled_from([13, 14, 15]))
@torch.no_grad()
def test_blocks_of_four_bits_need_one_plane(seed: int, widest: int) -> None:
    """Whichever codes a block uses; what is left is the rounding of scale and zero to bfloat16."""
    random = torch.Generator().manual_seed(seed)
    codes = torch.randint(0, widest + 1, (16, 4, GROUP), generator=random).float()
    codes[..., 0], codes[..., 1] = 0, widest
    scale, low = (torch.rand(16, 4, 1, generator=random) + 0.1) * 0.01, torch.randn(16, 4, 1, generator=random) * 0.05
    weight = (codes * scale + low).flatten(1)
    planes = planes_of(weight, 2)
    assert len(planes) == 1
    assert relative(decode(planes[0][0], *planes[0][1].transpose(0, 1).unbind(-1)), weight) < 0.005


@torch.no_grad()
def test_codes_fit_and_equal_numbers_stay() -> None:
    weight = torch.cat([torch.full((1, GROUP), 0.3), torch.zeros(1, GROUP), torch.randn(14, GROUP)])
    codes, scale, zero = encode(weight, (15,))
    assert int(codes.min()) >= 0 and int(codes.max()) <= 15
    assert torch.allclose(decode(codes, scale, zero)[:2], weight[:2], rtol=5e-3)


@pytest.mark.parametrize(("inputs", "outputs", "fitting"), [(64, 32, True), (48, 32, False), (64, 40, False)])
def test_shapes_the_kernel_takes(inputs: int, outputs: int, fitting: bool) -> None:
    assert fits(nn.Linear(inputs, outputs)) is fitting
