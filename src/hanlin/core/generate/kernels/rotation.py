"""Turning numbers so that none stands out: x·R with R orthogonal. (x·R)·(W·R)ᵀ = x·Wᵀ, and both sides round better.

Ashkboos et al. 2024 (QuaRot), https://arxiv.org/abs/2404.00456. Where they take one Hadamard matrix, here R = A ⊗ B for
any width m·k: x as (m, k) becomes A·x·B, A a discrete cosine transform of m, B a Hadamard matrix of k, k a power of two
near √(m·k). A few dozen multiplications a number instead of m·k.
"""

from __future__ import annotations

import functools
import math

import torch


def rotate(x: torch.Tensor) -> torch.Tensor:
    """x·R of rows (…, width), in float32."""
    outer, inner = matrices(x.shape[-1], x.device)
    turned = outer @ x.float().unflatten(-1, (len(outer), len(inner))) @ inner
    return turned.flatten(-2)


def rotate_back(x: torch.Tensor) -> torch.Tensor:
    """x·Rᵀ."""
    outer, inner = matrices(x.shape[-1], x.device)
    turned = outer.T @ x.float().unflatten(-1, (len(outer), len(inner))) @ inner.T
    return turned.flatten(-2)


@functools.cache
def matrices(width: int, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """A (m, m) and B (k, k), float32, m·k = width."""
    k = 1
    while width % (2 * k) == 0 and 2 * k * k <= width:
        k *= 2
    return _cosines(width // k).to(device), _hadamard(k).to(device)


def _cosines(size: int) -> torch.Tensor:
    """DCT-II, scaled to be orthogonal."""
    places = torch.arange(size, dtype=torch.float64)
    found = torch.cos(math.pi / size * (places + 0.5) * places[:, None]) * math.sqrt(2 / size)
    found[0] /= math.sqrt(2)
    return found.float()


def _hadamard(size: int) -> torch.Tensor:
    """Sylvester's, scaled to be orthogonal; symmetric."""
    found = torch.ones(1, 1)
    while len(found) < size:
        found = torch.cat([torch.cat([found, found], dim=1), torch.cat([found, -found], dim=1)])
    return found / math.sqrt(size)
