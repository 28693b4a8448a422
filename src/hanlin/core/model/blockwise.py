"""Numbers as 8-bit codes with one scale a block: dynamic quantisation. Dettmers et al. 2021,
https://arxiv.org/abs/2110.02861.

    range = max|x| over a block of 256;  code = nearest(map, x / range);  x ≈ map[code] · range

The map holds 256 numbers of −1 … 1: a sign, how many tens to divide by (0 … 6), and a fraction that has one bit less
for each ten. The unsigned map gives the sign's bit to the fraction.

Nearest is what bitsandbytes' CPU code finds, code for code: −1 … 1 is cut into 65,536 bins, and a bin has one code.
A bin is 3·10⁻⁵ of a block's range wide, so smaller numbers, 0 among them, come back as 2·10⁻⁵ of the range.
"""

from __future__ import annotations

import functools

import torch
import torch.nn.functional as F

BLOCK = 256
TENS = 7
BINS = 2**16


def num_blocks(numbers: int) -> int:
    """The last block may be shorter."""
    return -(numbers // -BLOCK)


@functools.cache
def dynamic_map(signed: bool) -> torch.Tensor:
    """The 256 numbers that codes stand for, ascending, float32."""
    numbers = [0.0, 1.0]
    for tens in range(TENS):
        edges = torch.linspace(0.1, 1, 2 ** (tens + (not signed)) + 1, dtype=torch.float32, device="cpu")
        middles = 10 ** (tens - TENS + 1) * (edges[:-1] + edges[1:]) / 2
        numbers += middles.tolist() + (-middles).tolist() * signed
    return torch.tensor(sorted(numbers), dtype=torch.float32, device="cpu")


def quantize(x_n: torch.Tensor, signed: bool) -> tuple[torch.Tensor, torch.Tensor]:
    """float32 numbers (n,), in the unsigned map none below 0 → codes (n,) uint8, ranges (num_blocks,) float32."""
    length = x_n.numel()
    whole = F.pad(x_n, (0, -length % BLOCK)) if length % BLOCK else x_n
    blocks = whole.view(-1, BLOCK)
    ranges = blocks.abs().amax(dim=1)
    # The inverse of a denormal range is infinite, and 0 · ∞ no number.
    inverse = ranges.reciprocal().clamp_(max=torch.finfo(torch.float32).max)
    middle = (ranges > 0).float()  # a block of zeros gets bin 0 and with it code 0
    bins = (blocks * inverse[:, None]).add_(middle[:, None]).mul_((BINS - 1) / 2).add_(0.5).int()
    codes = _codes_of_bins(signed, x_n.device).index_select(0, bins.view(-1))
    return codes[:length], ranges


def dequantize(codes_n: torch.Tensor, ranges: torch.Tensor, signed: bool) -> torch.Tensor:
    """The reverse of `quantize`: float32 numbers (n,)."""
    x_n = _map_on(signed, codes_n.device).index_select(0, codes_n.long())
    scale_blocks(x_n, ranges, BLOCK)
    return x_n


def scale_blocks(x_n: torch.Tensor, scales: torch.Tensor, block: int) -> None:
    """Multiply each block of `x_n`, the last may be shorter, with its scale, in place."""
    whole = x_n.numel() // block
    x_n[: whole * block].view(whole, block).mul_(scales[:whole, None])
    x_n[whole * block :].mul_(scales[whole:])


@functools.cache
def _map_on(signed: bool, device: torch.device) -> torch.Tensor:
    return dynamic_map(signed).to(device)


@functools.cache
def _codes_of_bins(signed: bool, device: torch.device) -> torch.Tensor:
    """(65,536,) uint8: the code nearest to each bin's middle, the lower of two equally near."""
    numbers = dynamic_map(signed)
    borders = (numbers[:-1] + numbers[1:]) / 2
    middles = torch.arange(BINS, dtype=torch.float32, device="cpu") * 2 / (BINS - 1) - 1
    return torch.bucketize(middles, borders).to(torch.uint8).to(device)
