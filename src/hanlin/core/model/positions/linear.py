"""Position interpolation: all positions divided by one factor. Chen et al. 2023, https://arxiv.org/abs/2306.15595."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hanlin.core.model.positions.frequencies import Frequencies, plain_frequencies


def frequencies(width: int, theta: float, settings: Mapping[str, Any], max_positions: int, length: int) -> Frequencies:
    """f / s."""
    return Frequencies(plain_frequencies(width, theta) / settings["factor"])
