"""NF4, 8-bit codes and 8-bit AdamW against bitsandbytes' CPU code: equal bit for bit."""

from __future__ import annotations

import bitsandbytes as bnb
import pytest
import torch
from bitsandbytes import functional

from hanlin.core.model import blockwise, nf4
from hanlin.core.train.optimizers import adamw8bit

SHAPES = [(1,), (7,), (65,), (130,), (5, 13), (3, 80), (2, 96), (4, 64), (320, 640), (64 * 256 * 3 + 64,)]


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def theirs(x: torch.Tensor, double: bool) -> tuple[torch.Tensor, functional.QuantState]:
    """Of the numbers in a row: for a matrix whose width is not a multiple of 64 their AVX-512 code dequantises with the
    scales of other blocks."""
    codes, state = functional.quantize_4bit(x.flatten(), quant_type="nf4", compress_statistics=double)
    return codes.flatten(), state


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("double", [True, False])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_nf4(shape: tuple[int, ...], double: bool, dtype: torch.dtype):
    x = random(*shape).to(dtype)
    codes, state = theirs(x, double)
    ours = nf4.quantize(x, double)
    assert torch.equal(ours.codes, codes)
    assert torch.equal(ours.scales, state.absmax)
    if double:
        assert torch.equal(ours.ranges, torch.cat([state.state2.absmax, state.offset[None]]))
    assert torch.equal(nf4.dequantize(ours, dtype), functional.dequantize_4bit(codes[:, None], state).view(shape))


@pytest.mark.parametrize("double", [True, False])
def test_nf4_of_matrices_in_their_own_shape(double: bool):
    x = random(48, 192)
    codes, state = functional.quantize_4bit(x, quant_type="nf4", compress_statistics=double)
    assert torch.equal(nf4.dequantize(nf4.quantize(x, double), torch.float32), functional.dequantize_4bit(codes, state))


def test_nf4_of_zeros_ties_and_tiny_numbers():
    """A tie is a number half-way between two of NF4's; 0 and denormals are what a scale's inverse breaks on."""
    numbers = torch.tensor(nf4.NF4)
    ties = torch.cat([(numbers[1:] + numbers[:-1]) / 2, torch.ones(1)]).repeat(4)
    for x in (torch.zeros(128), torch.zeros(65), ties, ties * 3, ties * 2.0**-130, torch.cat([ties, torch.zeros(5)])):
        codes, state = theirs(x, double=False)
        ours = nf4.quantize(x, double=False)
        assert torch.equal(ours.codes, codes)
        assert torch.equal(ours.scales, state.absmax)


@pytest.mark.parametrize("signed", [True, False])
def test_dynamic_map(signed: bool):
    assert torch.equal(blockwise.dynamic_map(signed), functional.create_dynamic_map(signed))


@pytest.mark.parametrize("signed", [True, False])
@pytest.mark.parametrize("length", [1, 255, 256, 257, 256 * 400 + 17])
def test_blockwise(length: int, signed: bool):
    x = random(length) * random(length, seed=1).exp() ** 2  # numbers near 0 too, where the codes are densest
    x = x if signed else x.square()
    numbers = functional.create_dynamic_map(signed)
    codes, state = functional.quantize_blockwise(x, code=numbers, blocksize=256)
    ours, ranges = blockwise.quantize(x, signed)
    assert torch.equal(ours, codes)
    assert torch.equal(ranges, state.absmax)
    assert torch.equal(blockwise.dequantize(ours, ranges, signed), functional.dequantize_blockwise(codes, state))


@pytest.mark.parametrize("signed", [True, False])
def test_blockwise_of_every_bin(signed: bool):
    """Each bin's middle and a hair beside it, in blocks whose range is 1."""
    middles = torch.arange(65536, dtype=torch.float32) * 2 / 65535 - 1
    near = torch.cat([middles, middles * (1 - 2**-18)])
    x = torch.cat([torch.cat([piece, torch.ones(256 - len(piece))]) for piece in near.split(255)])
    codes, _ = functional.quantize_blockwise(x, code=functional.create_dynamic_map(signed), blocksize=256)
    assert torch.equal(blockwise.quantize(x, signed)[0], codes)


def test_adamw8bit_takes_the_same_path():
    """Forty steps; the last tensors are small and have float32 moments, where theirs groups the factors otherwise."""
    shapes = [(64, 80), (100, 100), (4096,), (70001,), (33,), ()]
    weights = [random(*shape) for shape in shapes]
    parameters = [torch.nn.Parameter(weight.clone()) for weight in weights]
    optimizer = bnb.optim.AdamW8bit(parameters, 3e-3, (0.9, 0.95), 1e-8, weight_decay=0.1)
    states = [adamw8bit.new_state(weight) for weight in weights]
    for number in range(1, 41):
        gradients = [random(*shape, seed=number) * 0.1 + weight * 0.3 for shape, weight in zip(shapes, weights)]
        gradients[1][: number % 3 * 30] = 0
        for parameter, gradient in zip(parameters, gradients):
            parameter.grad = gradient.clone()
        optimizer.step()
        adamw8bit.step(weights, gradients, states, 3e-3, number, 0.1, (0.9, 0.95), 1e-8)
    for weight, parameter, state in zip(weights, parameters, states):
        if "first_ranges" in state:
            peer = optimizer.state[parameter]
            assert torch.equal(weight, parameter.detach())
            assert torch.equal(state["first"], peer["state1"])
            assert torch.equal(state["second"], peer["state2"])
            assert torch.equal(state["second_ranges"], peer["absmax2"])
        assert torch.allclose(weight, parameter.detach(), atol=1e-6, rtol=0)
