"""Matrices in 8 bits: whole numbers from −127 to 127 and one scale for each output. LLM.int8()'s vector-wise absmax,
Dettmers et al. 2022, https://arxiv.org/abs/2208.07339, section 2.1, for the matrix alone: x stays bfloat16.

    scale_o = max_i |W_oi| / 127;  code = round(W / scale);  y = (x·codesᵀ) · scale
"""

from __future__ import annotations

import torch
from torch import nn

from hanlin.core.generate.kernels.bfloat16 import Bfloat16Matrix
from hanlin.core.generate.kernels.linear import CodedLinear

FEW_ROWS = 4
"""Until it is measured (choose.py): torch's kernel multiplies four rows at the cost of one."""


class Int8Linear(CodedLinear):
    """codes: (out, in) int8. scales: (out,) bfloat16, as torch's kernel takes them: the codes are rounded with them."""

    codes: torch.Tensor
    scales: torch.Tensor

    def __init__(
        self,
        codes: torch.Tensor,
        scales: torch.Tensor,
        bias: torch.Tensor | None,
        dtype: torch.dtype,
        few_rows: int = FEW_ROWS,
        wide: Bfloat16Matrix | None = None,
    ):
        super().__init__((codes.shape[0], codes.shape[1]), bias, dtype, few_rows, wide)
        self.register_buffer("codes", codes, persistent=False)
        self.register_buffer("scales", scales, persistent=False)

    @classmethod
    def from_linear(cls, linear: nn.Linear, few_rows: int = FEW_ROWS, keep_wide: bool = True) -> Int8Linear:
        codes, scales = quantize(linear.weight)
        wide = Bfloat16Matrix(linear.weight) if keep_wide else None
        bias = None if linear.bias is None else linear.bias.detach()
        return cls(codes, scales, bias, linear.weight.dtype, few_rows, wide)

    def narrow(self, x_NI: torch.Tensor) -> torch.Tensor:
        return torch.ops.aten._weight_int8pack_mm(x_NI, self.codes, self.scales)

    def dequantized(self, dtype: torch.dtype) -> torch.Tensor:
        return (self.codes.float() * self.scales.float()[:, None]).to(dtype)


def quantize(weight: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """(out, in) of any floating type → codes (out, in) int8, scales (out,) bfloat16."""
    weight = weight.detach()
    largest_O1 = weight.abs().amax(dim=1, keepdim=True).float()
    # Rounded up to bfloat16, so that no code is beyond 127.
    scales_O1 = (largest_O1 / 127 * (1 + 2**-8)).bfloat16()
    divisors_O1 = torch.where(scales_O1 > 0, scales_O1.float(), 1.0)
    codes = (weight / divisors_O1).round_().clamp_(-127, 127).to(torch.int8)
    return codes, scales_O1[:, 0]
