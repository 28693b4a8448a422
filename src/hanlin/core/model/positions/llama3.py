"""Llama 3.1's scaling: slow frequencies divided by the factor, fast ones kept, a smooth step between. Llama team 2024,
https://arxiv.org/abs/2407.21783."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from hanlin.core.model.positions.frequencies import Frequencies, plain_frequencies


def frequencies(width: int, theta: float, settings: Mapping[str, Any], max_positions: int, length: int) -> Frequencies:
    """f·(γ + (1 − γ)/s) with γ = (L/λ − low)/(high − low), held inside [0, 1]; λ = 2π/f is the wavelength."""
    plain = plain_frequencies(width, theta)
    low, high = settings["low_freq_factor"], settings["high_freq_factor"]
    turns = settings["original_max_position_embeddings"] * plain / (2 * math.pi)
    kept = ((turns - low) / (high - low)).clamp(0, 1)
    return Frequencies((1 - kept) * plain / settings["factor"] + kept * plain)
