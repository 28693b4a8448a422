"""Turning numbers so that none stands out: x·R with R orthogonal. (x·R)·(W·R)ᵀ = x·Wᵀ, and both sides round better.

Ashkboos et al. 2024 (QuaRot), https://arxiv.org/abs/2404.00456. R turns neighbours within blocks: Hadamard matrices of
the largest power of two, at most 128, that divides the width; larger blocks gain nothing (KL on Gemma-3-270M).
"""

from __future__ import annotations

import functools
import math

import torch

LARGEST = 128


def rotate(x: torch.Tensor, signs_BB: torch.Tensor) -> torch.Tensor:
    """x·R·√B of rows (…, width), B the block; signs: `hadamard` of the width, in the dtype of x.

    R is symmetric: turned twice, rows are as they were, times B.
    """
    return (x.unflatten(-1, (-1, len(signs_BB))) @ signs_BB).flatten(-2)


@functools.cache
def hadamard(width: int, dtype: torch.dtype, device: torch.device) -> torch.Tensor:
    """Sylvester's matrix of ±1, (B, B), B the block of rows of this width."""
    found = torch.ones(1, 1)
    while len(found) < math.gcd(width, LARGEST):
        found = torch.cat([torch.cat([found, found], dim=1), torch.cat([found, -found], dim=1)])
    return found.to(dtype).to(device)
