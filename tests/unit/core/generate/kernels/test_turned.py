"""Rotations are orthogonal, turned products are those of the matrix, and a row's are the same bits in a batch."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from hanlin.core.generate.kernels.rotation import hadamard, rotate
from hanlin.core.generate.kernels.turned import TurnedLinear


@pytest.mark.parametrize("width", [1, 7, 48, 576, 640, 2048])
def test_a_rotation_keeps_lengths_and_undoes_itself(width: int) -> None:
    x = torch.randn(3, width)
    signs = hadamard(width, torch.float32, x.device)
    assert torch.allclose(rotate(x, signs).norm(dim=-1), x.norm(dim=-1) * len(signs) ** 0.5, rtol=1e-4)
    assert torch.allclose(rotate(rotate(x, signs), signs) / len(signs), x, atol=1e-4)


def test_what_stands_out_is_spread_over_its_block() -> None:
    x = torch.zeros(640)
    x[300] = 100.0
    turned = rotate(x, hadamard(640, torch.float32, x.device)).abs()
    assert torch.allclose(turned[256:384], torch.full((128,), 100.0))
    assert not turned[:256].any() and not turned[384:].any()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@torch.no_grad()
def test_products_stay_close_where_channels_stand_out(dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    linear = nn.Linear(640, 96, dtype=dtype)
    turned = TurnedLinear.from_linears(linear)
    x = torch.randn(2, 5, 640, dtype=dtype)
    x[..., 7] *= 30
    wanted = linear(x).float()
    assert turned(x).dtype == dtype
    assert (turned(x).float() - wanted).std() < 0.02 * wanted.std()
    assert (turned.weight.float() - linear.weight.float()).std() < 0.01 * linear.weight.float().std()


@torch.no_grad()
def test_a_row_is_the_same_in_any_batch_and_nearer_alone() -> None:
    linear = nn.Linear(96, 40)
    x = torch.randn(9, 96)
    turned = TurnedLinear.from_linears(linear)
    together = turned(x)
    assert all(torch.allclose(turned(x[i : i + 2])[0], together[i], atol=1e-6) for i in range(8))
    wanted = nn.functional.linear(x, turned.weight, linear.bias)
    alone = torch.cat([turned(row[None]) for row in x])
    assert torch.allclose(alone, wanted, atol=1e-5)
    assert (together - wanted).abs().max() > (alone - wanted).abs().max()


@torch.no_grad()
def test_several_layers_in_one_stand_beside_each_other() -> None:
    first, second = nn.Linear(64, 8), nn.Linear(64, 24, bias=False)
    x = torch.randn(4, 64)
    together = TurnedLinear.from_linears(first, second)(x)
    apart = torch.cat([TurnedLinear.from_linears(first)(x), TurnedLinear.from_linears(second)(x)], dim=-1)
    assert torch.allclose(together, apart, atol=1e-6)
