"""Learned positions: one vector a place, added to the token's. Gehring et al. 2017, https://arxiv.org/abs/1705.03122;
GPT, BERT."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from hanlin.core.model.reading import Reading


class LearnedPositions(nn.Module):
    """x + P[position + offset]. There is nothing beyond the last place: longer texts raise IndexError.

    padding: a row that reading does not train.
    """

    def __init__(self, num_positions: int, width: int, offset: int = 0, padding: int | None = None):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(num_positions, width).uniform_(-0.02, 0.02))
        self.offset, self.padding = offset, padding

    def forward(self, x_BTC: torch.Tensor, reading: Reading) -> torch.Tensor:
        return x_BTC + F.embedding(reading.positions + self.offset, self.weight, self.padding)
