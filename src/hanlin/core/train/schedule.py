"""Learning rate over progress p in [0, 1): rise, stay, fall to zero. Zhai et al. 2022
(https://arxiv.org/abs/2106.04560, trapezoid)."""

from __future__ import annotations


def rate_scale(progress: float, warmup: float, decay: float) -> float:
    """The factor on every learning rate. A function of progress alone, so steps, tokens and minutes can drive it."""
    rising = 1.0 if warmup == 0 else min(1.0, (progress + 1e-3) / warmup)
    falling = 1.0 if decay == 0 else min(1.0, max(0.0, 1.0 - progress) / decay)
    return min(rising, falling)
