"""Sinusoidal positions, added to the token's vector. Vaswani et al. 2017, https://arxiv.org/abs/1706.03762, section
3.5.

P(t, 2i) = sin(t / 10000^(2i/C)),  P(t, 2i+1) = cos(t / 10000^(2i/C))
"""

from __future__ import annotations

import torch
from torch import nn

from hanlin.core.model.positions.frequencies import plain_frequencies
from hanlin.core.model.reading import Reading


def sinusoids(positions: torch.Tensor, width: int, theta: float = 10_000.0) -> torch.Tensor:
    """(…,) positions → (…, C) float32, sines at the even places, cosines at the odd ones."""
    angles = positions[..., None].float() * plain_frequencies(width, theta).to(positions.device)
    return torch.stack((angles.sin(), angles.cos()), dim=-1).flatten(-2)


class SinusoidalPositions(nn.Module):
    """x + P(position); nothing is learned, and there is no last place."""

    def __init__(self, width: int):
        super().__init__()
        self.width = width

    def forward(self, x_BTC: torch.Tensor, reading: Reading) -> torch.Tensor:
        return x_BTC + sinusoids(reading.positions, self.width).to(x_BTC)
