"""The output head of a large vocabulary: all logits in 8 bits, those of the likeliest tokens again exactly.

A vocabulary of 262,144 makes the head half of a small model's work, and nearly all of it goes to tokens that won't be
drawn. So coarse products (turned.py) give every token's logit, and the rows of the few hundred likeliest are multiplied
as they are. On Gemma-3-270M the coarse logits alone are 0.008 nats a token away, with 256 exact ones 0.0007.
"""

from __future__ import annotations

import torch
from torch import nn

from hanlin.core.generate.kernels.turned import product, quantize
from hanlin.core.generate.strategies.largest import largest

EXACT = 256
"""Tokens whose logits are made again."""


class ScreenedHead(nn.Module):
    """y = x·Wᵀ + bias, (…, C) → (…, V) float32.

    weight: (V, C), the embedding itself where it is tied: it is not copied. codes, scales: of the same, turned.
    """

    codes: torch.Tensor
    scales: torch.Tensor

    def __init__(self, weight: torch.Tensor, bias: torch.Tensor | None, codes: torch.Tensor, scales: torch.Tensor):
        super().__init__()
        self._weight, self._bias = weight, bias
        self.out_features, self.in_features = weight.shape
        self.register_buffer("codes", codes, persistent=False)
        self.register_buffer("scales", scales, persistent=False)

    @classmethod
    def from_linear(cls, linear: nn.Linear) -> ScreenedHead:
        bias = None if linear.bias is None else linear.bias.detach()
        return cls(linear.weight.detach(), bias, *quantize(linear.weight))

    @property
    def weight(self) -> torch.Tensor:
        return self._weight

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        rows_NC = x.reshape(-1, self.in_features)
        logits_NV = product(rows_NC, self.codes, self.scales)
        for row_C, logits_V in zip(rows_NC, logits_NV):
            places_k = largest(logits_V, EXACT)[1]
            logits_V[places_k] = (self._weight[places_k] @ row_C.to(self._weight.dtype)).float()
        if self._bias is not None:
            logits_NV += self._bias.float()
        return logits_NV.view(*x.shape[:-1], self.out_features)
