"""LongRoPE: one searched factor for each pair, a short and a long set. Ding et al. 2024, https://arxiv.org/abs/2402.13753."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch

from hanlin.core.model.positions.frequencies import Frequencies, exponents


def frequencies(width: int, theta: float, settings: Mapping[str, Any], max_positions: int, length: int) -> Frequencies:
    """f_i / s_i with the long factors as soon as more is read than the trained length, else the short ones. Raises
    ValueError when there is not one for each pair."""
    trained = settings["original_max_position_embeddings"]
    if {len(settings["long_factor"]), len(settings["short_factor"])} != {len(exponents(width))}:
        raise ValueError(f"long_factor and short_factor need one number for each of {len(exponents(width))} pairs")
    chosen = settings["long_factor"] if length > trained else settings["short_factor"]
    values = 1.0 / (torch.tensor(chosen, dtype=torch.float32) * theta ** exponents(width))
    return Frequencies(values, _attention_factor(settings, max_positions, trained))


def _attention_factor(settings: Mapping[str, Any], max_positions: int, trained: int) -> float:
    """√(1 + ln s / ln L)."""
    if settings.get("attention_factor") is not None:
        return settings["attention_factor"]
    factor = settings.get("factor") or max_positions / trained
    return 1.0 if factor <= 1 else math.sqrt(1 + math.log(factor) / math.log(trained))
