"""Int8Linear: codes and scales by hand, both products against the formula."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from hanlin.core.generate.kernels.int8 import FEW_ROWS, Int8Linear, quantize


def test_codes_are_whole_numbers_of_a_scale_no_further_off_than_half_of_it() -> None:
    weight = torch.randn(24, 64, generator=torch.Generator().manual_seed(0))
    weight[3] = 0
    codes, scales = quantize(weight)
    assert codes.dtype == torch.int8 and codes.abs().max() <= 127
    assert scales[3] == 0 and not codes[3].any()
    error = (codes * scales.float()[:, None] - weight).abs()
    assert (error <= scales.float()[:, None] / 2 * 1.0001).all()
    assert (codes.abs().amax(1)[torch.arange(24) != 3] >= 126).all(), "the whole range is used"


@pytest.mark.parametrize("keep_wide", [True, False])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("bias", [True, False])
def test_the_product_is_that_of_the_numbers_the_codes_stand_for(
    keep_wide: bool, dtype: torch.dtype, bias: bool
) -> None:
    torch.manual_seed(0)
    linear = nn.Linear(64, 48, bias=bias, dtype=dtype).requires_grad_(False)
    ours = Int8Linear.from_linear(linear, keep_wide=keep_wide)
    for rows in (1, FEW_ROWS, FEW_ROWS + 1, 40):
        x = torch.randn(2, rows, 64, dtype=dtype) if rows > FEW_ROWS else torch.randn(rows, 64, dtype=dtype)
        y = ours(x)
        exact = rows > FEW_ROWS and keep_wide
        weight = linear.weight.float() if exact else ours.dequantized(torch.float32)
        wanted = F.linear(x.float(), weight, None if linear.bias is None else linear.bias.float())
        assert y.dtype == dtype and y.shape == wanted.shape
        assert torch.allclose(y.float(), wanted, atol=2e-2, rtol=2e-2)
    assert ours.weight.dtype == dtype
