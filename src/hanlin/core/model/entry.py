"""What happens to the tokens' vectors before the first block, where it is not adding positions (see positions/)."""

from __future__ import annotations

import torch
from torch import nn

from hanlin.core.model.reading import Reading


class PlainEntry(nn.Module):
    """Nothing."""

    def forward(self, x_BTC: torch.Tensor, reading: Reading) -> torch.Tensor:
        return x_BTC


class ScaledEntry(nn.Module):
    """x · scale, the scale rounded to x's dtype as in the models that use it (Gemma: √C)."""

    def __init__(self, scale: float):
        super().__init__()
        self.scale = scale

    def forward(self, x_BTC: torch.Tensor, reading: Reading) -> torch.Tensor:
        return x_BTC * torch.tensor(self.scale, dtype=x_BTC.dtype, device=x_BTC.device)


class NormedEntry(nn.Module):
    """norm(x) (BLOOM)."""

    def __init__(self, norm: nn.Module):
        super().__init__()
        self.norm = norm

    def forward(self, x_BTC: torch.Tensor, reading: Reading) -> torch.Tensor:
        return self.norm(x_BTC)
