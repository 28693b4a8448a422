"""What stands in place of a linear layer: for few rows a product that reads as few bytes as it can, for many another.

A token's forward pass multiplies one row and waits for the matrix to come from memory; a prompt's multiplies hundreds
and waits for the processor. So the same numbers lie there twice: as codes, and as bfloat16 where memory allows.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from hanlin.core.generate.kernels.bfloat16 import Bfloat16Matrix


class CodedLinear(nn.Module):
    """y = x·Wᵀ + bias for x (…, in), W (out, in) as codes. Kinds of codes say what they stand for and how to multiply.

    dtype: of the layer this was made from. few_rows: up to so many rows the codes are multiplied. wide: the same matrix
    in bfloat16, for more; None: dequantised at each use.
    """

    def __init__(
        self,
        shape: tuple[int, int],
        bias: torch.Tensor | None,
        dtype: torch.dtype,
        few_rows: int,
        wide: Bfloat16Matrix | None,
    ):
        super().__init__()
        self.out_features, self.in_features = shape
        self.dtype = dtype
        self.few_rows, self.wide = few_rows, wide
        self.register_buffer("bias", bias, persistent=False)
        self.bias: torch.Tensor | None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        rows_NI = x.reshape(-1, self.in_features).bfloat16()
        if len(rows_NI) <= self.few_rows:
            y_NO = self.narrow(rows_NI)
        elif self.wide is not None:
            y_NO = self.wide.product(rows_NI)
        else:
            y_NO = F.linear(rows_NI, self.dequantized(torch.bfloat16))
        y = y_NO.view(*x.shape[:-1], self.out_features).to(x.dtype)
        return y if self.bias is None else y + self.bias.to(x.dtype)

    @property
    def codes_name(self) -> str:
        """Names what `narrow` multiplies: equal names and shapes take equal time."""
        return type(self).__name__

    def narrow(self, x_NI: torch.Tensor) -> torch.Tensor:
        """x·Wᵀ from the codes: bfloat16 (N, in) → (N, out)."""
        raise NotImplementedError

    def dequantized(self, dtype: torch.dtype) -> torch.Tensor:
        """The numbers the codes stand for, (out, in)."""
        raise NotImplementedError

    @property
    def weight(self) -> torch.Tensor:
        """A copy: what is written into it is lost."""
        return self.dequantized(self.dtype)

    def extra_repr(self) -> str:
        return f"in_features={self.in_features}, out_features={self.out_features}, bias={self.bias is not None}"
