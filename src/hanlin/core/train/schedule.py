"""Learning rate over progress p in [0, 1): a rise, then one of four shapes, down to a share of the rate.

    rise      (p + 10⁻³) / warmup, at most 1
    constant  1
    linear    1 − q                  with q = (p − warmup) / (1 − warmup)
    cosine    (1 + cos πq) / 2       Loshchilov & Hutter 2016, https://arxiv.org/abs/1608.03983
    wsd       (1 − p) / decay, at most 1: rise, stay, fall. Zhai et al. 2022, https://arxiv.org/abs/2106.04560
              (trapezoid); Hu et al. 2024, https://arxiv.org/abs/2404.06395

A shape that falls from 1 to 0 falls from 1 to `final` instead: final + (1 − final)·shape.
"""

from __future__ import annotations

import math
from typing import Literal, assert_never

Schedule = Literal["constant", "linear", "cosine", "wsd"]


def rate_scale(progress: float, schedule: Schedule, warmup: float, decay: float, final: float) -> float:
    """The factor on every learning rate. A function of progress alone, so steps, tokens and minutes can drive it.

    warmup: share of the run with the rise, below 1. decay: wsd's share with the fall. constant reads no `final`.
    """
    rising = 1.0 if warmup == 0 else min(1.0, (progress + 1e-3) / warmup)
    return min(rising, final + (1 - final) * _shape(progress, schedule, warmup, decay))


def _shape(progress: float, schedule: Schedule, warmup: float, decay: float) -> float:
    after_rise = min(1.0, max(0.0, progress - warmup) / (1 - warmup))
    match schedule:
        case "constant":
            return 1.0
        case "linear":
            return 1 - after_rise
        case "cosine":
            return (1 + math.cos(math.pi * after_rise)) / 2
        case "wsd":
            return 1.0 if decay == 0 else min(1.0, max(0.0, 1.0 - progress) / decay)
        case _:
            assert_never(schedule)
