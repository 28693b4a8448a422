"""Matrices in bfloat16, laid out once for the processor's own product where torch has one (oneDNN's packed weights).

    y = round(x)·round(W)ᵀ + bias, sums in float32

The plain `F.linear` brings W into that order at each call: one row then costs three times as much, many rows a tenth
more.
"""

from __future__ import annotations

import functools

import torch
import torch.nn.functional as F
from torch import nn


class Bfloat16Matrix:
    """W (out, in), to be multiplied from the left by rows."""

    def __init__(self, weight: torch.Tensor):
        self.shape = (weight.shape[0], weight.shape[1])
        self.device = weight.device
        plain = weight.detach().to(torch.bfloat16).contiguous()
        self._packed = torch.ops.mkldnn._reorder_linear_weight(plain, None) if can_pack(plain.device.type) else None
        self._plain = plain if self._packed is None else None

    def product(self, x_NI: torch.Tensor) -> torch.Tensor:
        """x·Wᵀ, bfloat16 (N, in) → (N, out)."""
        if self._plain is not None:
            return F.linear(x_NI, self._plain)
        return torch.ops.mkldnn._linear_pointwise(x_NI, self._packed, None, "none", [], "")

    def dequantized(self, dtype: torch.dtype) -> torch.Tensor:
        if self._plain is not None:
            return self._plain.to(dtype)
        identity = torch.eye(self.shape[1], dtype=torch.bfloat16, device=self.device)
        return self.product(identity).T.contiguous().to(dtype)  # exact: each sum has one term


class Bfloat16Linear(nn.Module):
    """nn.Linear over a Bfloat16Matrix, for x of any floating type."""

    def __init__(self, matrix: Bfloat16Matrix, bias: torch.Tensor | None, dtype: torch.dtype):
        super().__init__()
        self.dtype = dtype
        self.out_features, self.in_features = matrix.shape
        self.matrix = matrix
        self.register_buffer("bias", bias, persistent=False)
        self.bias: torch.Tensor | None

    @classmethod
    def from_linear(cls, linear: nn.Linear) -> Bfloat16Linear:
        bias = None if linear.bias is None else linear.bias.detach()
        return cls(Bfloat16Matrix(linear.weight), bias, linear.weight.dtype)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y_NO = self.matrix.product(x.reshape(-1, self.in_features).bfloat16())
        y = y_NO.view(*x.shape[:-1], self.out_features).to(x.dtype)
        return y if self.bias is None else y + self.bias.to(x.dtype)

    @property
    def weight(self) -> torch.Tensor:
        """A copy: what is written into it is lost."""
        return self.matrix.dequantized(self.dtype)

    def extra_repr(self) -> str:
        return f"in_features={self.in_features}, out_features={self.out_features}, bias={self.bias is not None}"


@functools.cache
def can_pack(device: str) -> bool:
    """Whether this torch packs bfloat16 matrices for this processor: tried once, because builds differ."""
    if device != "cpu" or not torch.backends.mkldnn.is_available():
        return False
    try:
        if not torch.ops.mkldnn._is_mkldnn_bf16_supported():
            return False
        weight = torch.arange(64, dtype=torch.bfloat16).view(4, 16)
        packed = torch.ops.mkldnn._reorder_linear_weight(weight, None)
        found = torch.ops.mkldnn._linear_pointwise(weight, packed, None, "none", [], "")
        return bool(torch.allclose(found.float(), weight.float() @ weight.float().T, rtol=2e-2))
    except (RuntimeError, AttributeError):
        return False
