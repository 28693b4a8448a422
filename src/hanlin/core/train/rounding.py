"""Stochastic rounding from float32 to bfloat16: up or down at random, right on average, so that steps smaller than
bfloat16's spacing are not lost. Gupta et al. 2015, https://arxiv.org/abs/1502.02551.

bfloat16 is the upper half of a float32. A number between two bfloat16 neighbours has the lower half f / 2¹⁶; adding a
uniform 16-bit number carries into the upper half with just that probability, and the lower half is dropped.
"""

from __future__ import annotations

import torch
from torch import Tensor

ON_PROCESSOR, ON_ACCELERATOR = 2**15, 2**24
"""Numbers rounded at once. On a processor the temporaries stay in its cache, and torch gives so few to one thread: the
drawing, most of the work, is serial anyway. An accelerator gets enough to do for each call."""


@torch.no_grad()
def stochastic_round_(target_bf16: Tensor, source_f32: Tensor, generator: torch.Generator) -> None:
    """Fill `target_bf16` with `source_f32` rounded, both contiguous, of one shape and on the generator's device.

    The same state of the generator gives the same bits. Numbers that bfloat16 has, infinities and NaN stay what they
    are; a number beyond bfloat16's largest may become infinite, as with rounding to the nearest.
    """
    assert target_bf16.dtype == torch.bfloat16 and source_f32.dtype == torch.float32
    assert target_bf16.is_contiguous() and source_f32.is_contiguous() and target_bf16.shape == source_f32.shape
    size = ON_PROCESSOR if source_f32.device.type == "cpu" else ON_ACCELERATOR
    for target, source in zip(target_bf16.view(-1).split(size), source_f32.view(-1).split(size)):
        noise = _uniform_int16(source.numel(), generator)
        bits = (source.view(torch.int32) + noise).add_(2**15).bitwise_and_(-(2**16))
        nan_or_zero = source.clamp(-1, 1).mul_(0)  # NaN's bits carry into the sign; a sum with NaN mends that
        target.copy_(bits.view(torch.float32).add_(nan_or_zero))


def _uniform_int16(count: int, generator: torch.Generator) -> Tensor:
    """From −2¹⁵ to 2¹⁵ − 1; four of them in each number that is drawn."""
    drawn = torch.empty((count + 3) // 4, dtype=torch.int64, device=generator.device)
    return drawn.random_(-(2**63), None, generator=generator).view(torch.int16)[:count]
