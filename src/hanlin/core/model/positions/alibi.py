"""Attention with linear biases: a key costs its distance times a slope of the head's own. Press et al. 2021,
https://arxiv.org/abs/2108.12409."""

from __future__ import annotations

import math

import torch

from hanlin.core.model.reading import Reading


def slopes(num_heads: int, bias_max: float = 8.0) -> torch.Tensor:
    """(H,): 2^(−bias_max·i/n) for i = 1 … n, n the number of heads; where that is no power of two, the n' = next
    smaller power first, then every other one of 2n'."""
    whole = 2 ** math.floor(math.log2(num_heads))
    first = _powers(whole, bias_max)
    return torch.cat([first, _powers(2 * whole, bias_max)[0::2][: num_heads - whole]])


def _powers(count: int, bias_max: float) -> torch.Tensor:
    # On the CPU even inside `torch.device("meta")`: a model without weights has its slopes.
    return 2.0 ** (-bias_max / count * torch.arange(1, count + 1, dtype=torch.float32, device="cpu"))


class ALiBi:
    """Adds −slope·distance to the scores, with the future hidden."""

    def __init__(self, slopes_H: torch.Tensor):
        self.slopes_H = slopes_H

    def turn(self, q_BTHD: torch.Tensor, k_BTKD: torch.Tensor, reading: Reading) -> tuple[torch.Tensor, torch.Tensor]:
        return q_BTHD, k_BTKD

    def mask(self, reading: Reading, window: int | None, dtype: torch.dtype) -> torch.Tensor:
        return reading.once(("alibi", id(self), window), lambda: self._mask(reading, window, dtype))

    def _mask(self, reading: Reading, window: int | None, dtype: torch.dtype) -> torch.Tensor:
        """(1, H, T, S): distances count tokens, padding included on both sides alike, so padding changes nothing."""
        distance_TS = reading.distance()
        bias = -self.slopes_H.to(reading.device)[None, :, None, None] * distance_TS
        seen = reading.mask(window)
        if seen is None:
            seen = distance_TS >= 0 if reading.causal else torch.ones_like(distance_TS, dtype=torch.bool)
        return bias.masked_fill(~seen, -torch.inf).to(dtype)
