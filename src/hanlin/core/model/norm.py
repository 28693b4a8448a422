"""Norms. LayerNorm is torch's own; here stand the root mean square ones: x / √(mean(x²) + ε) · w. Zhang & Sennrich
2019, https://arxiv.org/abs/1910.07467."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn


class RMSNorm(nn.Module):
    def __init__(self, width: int, eps: float):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.eps = eps

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.rms_norm(x, (x.shape[-1],), self.weight, self.eps)


class OffsetRMSNorm(nn.Module):
    """Gemma's: the weight is stored as its distance from 1, and all is computed in float32."""

    def __init__(self, width: int, eps: float):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(width))
        self.eps = eps

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.rms_norm(x.float(), (x.shape[-1],), 1.0 + self.weight.float(), self.eps).to(x.dtype)


class WholeRMSNorm(nn.Module):
    """OLMo 2's norm of queries and keys: over all heads of a token together, (…, H, D) → (…, H, D)."""

    def __init__(self, width: int, eps: float):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.eps = eps

    def forward(self, x_BTHD: torch.Tensor) -> torch.Tensor:
        flat = x_BTHD.flatten(-2)
        return F.rms_norm(flat, (flat.shape[-1],), self.weight, self.eps).view(x_BTHD.shape)
