"""Feed-forward layers: plain, two matrices around a nonlinearity (Vaswani et al. 2017, https://arxiv.org/abs/1706.03762),
and gated (Shazeer 2020, https://arxiv.org/abs/2002.05202)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from hanlin.core.model.activations import Activation


class FeedForward(nn.Module):
    """f(x·W_up)·W_down."""

    def __init__(self, width: int, hidden: int, activation: Activation, bias: bool = True):
        super().__init__()
        self.up_proj = nn.Linear(width, hidden, bias=bias)
        self.down_proj = nn.Linear(hidden, width, bias=bias)
        self.activation = activation

    def forward(self, x_BTC: torch.Tensor) -> torch.Tensor:
        return self.down_proj(self.activation(self.up_proj(x_BTC)))


class GatedFeedForward(nn.Module):
    """(f(x·W_gate) ⊙ x·W_up)·W_down. With f = silu it is SwiGLU, with gelu GEGLU."""

    def __init__(self, width: int, hidden: int, activation: Activation = F.silu, bias: bool = False):
        super().__init__()
        self.gate_proj = nn.Linear(width, hidden, bias=bias)
        self.up_proj = nn.Linear(width, hidden, bias=bias)
        self.down_proj = nn.Linear(hidden, width, bias=bias)
        self.activation = activation

    def forward(self, x_BTC: torch.Tensor) -> torch.Tensor:
        return self.down_proj(self.activation(self.gate_proj(x_BTC)) * self.up_proj(x_BTC))
