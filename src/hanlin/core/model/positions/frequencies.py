"""What every kind of rotary scaling gives: the angle per position of each pair, and a factor on cos and sin."""

from __future__ import annotations

from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Frequencies:
    """values (width/2,) float32, radians per position; attention_factor multiplies cos and sin."""

    values: torch.Tensor
    attention_factor: float = 1.0


def exponents(width: int) -> torch.Tensor:
    """2i/D for i in [0, D/2)."""
    return torch.arange(0, width, 2, dtype=torch.float32) / width


def plain_frequencies(width: int, theta: float) -> torch.Tensor:
    """θ^(−2i/D)."""
    return 1.0 / theta ** exponents(width)
