"""Matrices in 4 bits: NF4 codes, one scale for 64 numbers. Dettmers et al. 2023 (QLoRA), https://arxiv.org/abs/2305.14314.

    scale = max|w| over a block of 64;  code = nearest(NF4, w / scale);  w ≈ NF4[code] · scale

NF4's 16 numbers split a normal distribution into parts about equally likely. Double quantisation keeps the scales in
8 bits: their mean, and dynamic codes (blockwise.py) of what each differs from it. That makes 4.13 bits a number.

Codes, scales and the numbers they stand for are those of bitsandbytes' CPU code, bit for bit.
"""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from hanlin.core.model import blockwise

NF4 = (
    -1.0,
    -0.6961928009986877,
    -0.5250730514526367,
    -0.39491748809814453,
    -0.28444138169288635,
    -0.18477343022823334,
    -0.09105003625154495,
    0.0,
    0.07958029955625534,
    0.16093020141124725,
    0.24611230194568634,
    0.33791524171829224,
    0.44070982933044434,
    0.5626170039176941,
    0.7229568362236023,
    1.0,
)
BLOCK = 64
SMALLEST_SCALE = 1e-38
PIECE_ON_CPU, PIECE = 2**17, 2**24
"""Numbers worked on at a time, whole blocks. On a CPU what they need fits its cache; a GPU wants long pieces."""


@dataclass(frozen=True)
class Nf4:
    """A tensor in 4 bits. Blocks run through its numbers in their order, whatever its rows are.

    codes: (⌈n / 2⌉,) uint8, the first number in the high four bits.
    scales: (⌈n / 64⌉,) float32; with double quantisation uint8 codes.
    ranges: of those codes, float32, (blocks of 256,), and behind them the scales' mean; else empty.
    """

    codes: torch.Tensor
    scales: torch.Tensor
    ranges: torch.Tensor
    shape: tuple[int, ...]


def quantize(x: torch.Tensor, double: bool = True) -> Nf4:
    """A tensor of any floating type and shape → its codes; double: scales in 8 bits."""
    x_n = x.detach().reshape(-1)
    pieces = [_quantize_piece(piece_n) for piece_n in x_n.split(_piece(x.device))]
    codes, scales = (torch.cat(parts) for parts in zip(*pieces))
    if not double:
        return Nf4(codes, scales, scales.new_empty(0), tuple(x.shape))
    mean = scales.mean()
    scale_codes, ranges = blockwise.quantize(scales - mean, signed=True)
    return Nf4(codes, scale_codes, torch.cat([ranges, mean[None]]), tuple(x.shape))


def dequantize(nf4: Nf4, dtype: torch.dtype) -> torch.Tensor:
    """The numbers the codes stand for, computed in float32 and rounded to `dtype` once."""
    table, size = _pairs(nf4.codes.device), _piece(nf4.codes.device)
    out_n = torch.empty(2 * nf4.codes.numel(), dtype=dtype, device=nf4.codes.device)
    pieces = zip(out_n.split(size), nf4.codes.split(size // 2), _float_scales(nf4).split(size // BLOCK))
    for piece_n, codes, scales in pieces:
        numbers_n = table.index_select(0, codes.int()).view(torch.float32)
        blockwise.scale_blocks(numbers_n, scales, BLOCK)
        piece_n.copy_(numbers_n)
    return out_n[: math.prod(nf4.shape)].view(nf4.shape)


class Nf4Linear(nn.Module):
    """A frozen linear layer, its matrix (out, in) in NF4: y = x·dequantised(W)ᵀ + bias, in the type of x.

    It has no parameters and nothing in a state dict: only x gets a gradient, and who saves a model saves what was
    trained beside it. Neither direction keeps the dequantised matrix.
    """

    codes: torch.Tensor
    scales: torch.Tensor
    ranges: torch.Tensor
    bias: torch.Tensor | None

    def __init__(self, matrix: Nf4, bias: torch.Tensor | None, dtype: torch.dtype):
        super().__init__()
        self.out_features, self.in_features = matrix.shape
        self.dtype = dtype
        # float32 as bits: `model.bfloat16()` rounds every buffer of floating type.
        for name in ("codes", "scales", "ranges"):
            value = getattr(matrix, name)
            bits = value.view(torch.int32) if value.is_floating_point() else value
            self.register_buffer(name, bits, persistent=False)
        self.register_buffer("bias", bias, persistent=False)

    @classmethod
    def from_linear(cls, linear: nn.Linear, double: bool = True) -> Nf4Linear:
        bias = None if linear.bias is None else linear.bias.detach().clone()
        return cls(quantize(linear.weight, double), bias, linear.weight.dtype)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        matrix = self._matrix()
        bias = None if self.bias is None else self.bias.to(x.dtype)
        return _product(x, matrix.codes, matrix.scales, matrix.ranges, bias, list(matrix.shape), False)

    def dequantized(self, dtype: torch.dtype) -> torch.Tensor:
        """The whole matrix, (out, in)."""
        return dequantize(self._matrix(), dtype)

    @property
    def weight(self) -> torch.Tensor:
        """A copy, in the type of the layer this was made from: what is written into it is lost."""
        return self.dequantized(self.dtype)

    def extra_repr(self) -> str:
        return f"in_features={self.in_features}, out_features={self.out_features}, bias={self.bias is not None}"

    def _matrix(self) -> Nf4:
        scales = self.scales if self.scales.dtype == torch.uint8 else self.scales.view(torch.float32)
        return Nf4(self.codes, scales, self.ranges.view(torch.float32), (self.out_features, self.in_features))


def quantize_linears(
    model: nn.Module, chosen: Callable[[str], bool] | None = None, double: bool = True
) -> tuple[str, ...]:
    """Make Nf4Linear of the linear layers inside the blocks whose names are chosen (None: all), and return their names.

    One at a time, each original let go before the next: beside the model there is one layer's codes. Embeddings and
    heads stand outside the blocks; LEFT_ALONE is never chosen.
    """
    linears = [name for name, module in model.named_modules() if type(module) is nn.Linear]
    names = [name for name in linears if IN_A_BLOCK.search(name) and not name.endswith(LEFT_ALONE)]
    names = [name for name in names if chosen is None or chosen(name)]
    for name in names:
        parent, _, leaf = name.rpartition(".")
        linear = model.get_submodule(name)
        assert isinstance(linear, nn.Linear)
        setattr(model.get_submodule(parent), leaf, Nf4Linear.from_linear(linear, double))
        del linear
    return tuple(names)


IN_A_BLOCK = re.compile(r"(^|\.)layers\.\d+\.")
LEFT_ALONE = (".router", ".dt_proj")
"""Small, and much hangs on them: which expert reads a token, how long a Mamba's step is."""


# One operator, opaque to torch.compile: what a compiler sees it may keep, and it would keep the dequantised matrix
# from the forward pass for the backward pass.
@torch.library.custom_op(
    "hanlin::nf4_product",
    mutates_args=(),
    schema="(Tensor x, Tensor codes, Tensor scales, Tensor ranges, Tensor? bias, int[] shape, bool backward) -> Tensor",
)
def _product(
    x: torch.Tensor,
    codes: torch.Tensor,
    scales: torch.Tensor,
    ranges: torch.Tensor,
    bias: torch.Tensor | None,
    shape: list[int],
    backward: bool,
) -> torch.Tensor:
    """x·Wᵀ + bias; backward: x·W, which turns the gradient of the one's result into that of its x."""
    weight = dequantize(Nf4(codes, scales, ranges, tuple(shape)), x.dtype)
    return x @ weight if backward else F.linear(x, weight, bias)


@_product.register_fake
def _(
    x: torch.Tensor,
    codes: torch.Tensor,
    scales: torch.Tensor,
    ranges: torch.Tensor,
    bias: torch.Tensor | None,
    shape: list[int],
    backward: bool,
) -> torch.Tensor:
    return x.new_empty(*x.shape[:-1], shape[1] if backward else shape[0])


def _keep(ctx: Any, inputs: tuple[Any, ...], output: torch.Tensor) -> None:
    _, codes, scales, ranges, _, ctx.shape, ctx.backward = inputs
    ctx.save_for_backward(codes, scales, ranges)


def _gradients(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
    own = _product(gradient, *ctx.saved_tensors, None, ctx.shape, not ctx.backward)
    return own, None, None, None, None, None, None


_product.register_autograd(_gradients, setup_context=_keep)


def _quantize_piece(x_n: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Codes and scales of whole blocks and, in a tensor's last piece, a shorter one."""
    x_n = x_n.float()
    whole = x_n.numel() // BLOCK * BLOCK
    blocks, rest_n = x_n[:whole].view(-1, BLOCK), x_n[whole:]
    scales = blocks.abs().amax(dim=1)
    scaled_n = (blocks * scales.clamp(min=SMALLEST_SCALE).reciprocal()[:, None]).view(-1)
    if rest_n.numel():  # bitsandbytes divides here, and stores no smaller scale
        scale = rest_n.abs().amax().clamp(min=SMALLEST_SCALE)
        scales, scaled_n = torch.cat([scales, scale[None]]), torch.cat([scaled_n, rest_n / scale])
    scaled_n = F.pad(scaled_n, (0, scaled_n.numel() % 2))
    codes = _nearest(scaled_n)
    return codes[::2] << 4 | codes[1::2], scales


def _float_scales(nf4: Nf4) -> torch.Tensor:
    if nf4.scales.dtype != torch.uint8:
        return nf4.scales
    return blockwise.dequantize(nf4.scales, nf4.ranges[:-1], signed=True).add_(nf4.ranges[-1])


def _piece(device: torch.device) -> int:
    return PIECE_ON_CPU if device.type == "cpu" else PIECE


def _nearest(x_n: torch.Tensor) -> torch.Tensor:
    """Codes of the nearest of NF4's numbers, the lower half-way between two: `torch.bucketize`, ten times faster."""
    lowest_codes, borders = _by_high_bits(x_n.device)
    high_bits = (x_n.view(torch.int32) >> 16) & 0xFFFF
    return lowest_codes.index_select(0, high_bits) + (x_n > borders.index_select(0, high_bits))


@functools.cache
def _by_high_bits(device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """For all float32 that share their upper 16 bits: the code of the lowest, and the border above which the next code
    begins. There is at most one: they are less than 1/100 apart."""
    numbers = torch.tensor(NF4, dtype=torch.float32, device="cpu")
    borders = (numbers[:-1] + numbers[1:]) / 2
    high_bits = torch.arange(2**16, dtype=torch.int32, device="cpu")
    # Of negative numbers the lowest is the one whose lower bits are all set.
    lowest = (high_bits << 16 | (high_bits >> 15) * 0xFFFF).view(torch.float32)
    codes = torch.bucketize(lowest, borders)
    above = torch.cat([borders, torch.tensor([torch.inf], device="cpu")])[codes]
    return codes.to(torch.uint8).to(device), above.to(device)


@functools.cache
def _pairs(device: torch.device) -> torch.Tensor:
    """(256,) int64: the bits of the two float32 numbers that each byte of codes stands for, so that a pair moves as
    one."""
    numbers = torch.tensor(NF4, dtype=torch.float32, device=device)
    return torch.cartesian_prod(numbers, numbers).view(torch.int64).view(-1)
