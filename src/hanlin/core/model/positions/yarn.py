"""YaRN: interpolate the slow frequencies, leave the fast ones, blend between, and sharpen attention a little. Peng
et al. 2023, https://arxiv.org/abs/2309.00071."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch

from hanlin.core.model.positions.frequencies import Frequencies, plain_frequencies


def frequencies(width: int, theta: float, settings: Mapping[str, Any], max_positions: int, length: int) -> Frequencies:
    """f·(γ + (1 − γ)/s): γ falls from 1 to 0 between `beta_fast` and `beta_slow` turns within the trained length."""
    trained = settings["original_max_position_embeddings"]
    factor = settings.get("factor") or max_positions / trained
    plain = plain_frequencies(width, theta)
    low = _pair_that_turns(settings.get("beta_fast") or 32, width, theta, trained)
    high = _pair_that_turns(settings.get("beta_slow") or 1, width, theta, trained)
    if settings.get("truncate", True):
        low, high = math.floor(low), math.ceil(high)
    low, high = max(low, 0), min(high, width - 1)
    high = high + 0.001 if low == high else high
    kept = 1 - ((torch.arange(width // 2, dtype=torch.float32) - low) / (high - low)).clamp(0, 1)
    return Frequencies(plain / factor * (1 - kept) + plain * kept, _attention_factor(settings, factor))


def _pair_that_turns(times: float, width: int, theta: float, trained: int) -> float:
    """The (fractional) pair i whose angle makes `times` full turns within the trained length."""
    return width * math.log(trained / (times * 2 * math.pi)) / (2 * math.log(theta))


def _attention_factor(settings: Mapping[str, Any], factor: float) -> float:
    """0.1·ln(s) + 1 (eq. 22), or the quotient of two such numbers where a config sets them (DeepSeek)."""
    if settings.get("attention_factor") is not None:
        return settings["attention_factor"]
    if settings.get("mscale") and settings.get("mscale_all_dim"):
        return _temperature(factor, settings["mscale"]) / _temperature(factor, settings["mscale_all_dim"])
    return _temperature(factor, 1.0)


def _temperature(factor: float, scale: float) -> float:
    return 1.0 if factor <= 1 else 0.1 * scale * math.log(factor) + 1.0
