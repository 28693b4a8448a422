"""Matrix and rows both in 8 bits, multiplied as whole numbers (VNNI and its like), after a rotation of both.

    a_n = max_i |(x·R)_ni| / 127,  s_o = max_i |(W·R)_oi| / 127
    y = (round(x·R / a) · round(W·R / s)ᵀ) · a · s

A row of x is read with one scale, and in language models a few channels are a hundred times larger than the others:
rounded so, the others would vanish (KL 0.05 nats a token on Gemma-3-270M). Turned (rotation.py) no number stands out
(0.004).
"""

from __future__ import annotations

import torch
from torch import nn

from hanlin.core.generate.kernels.bfloat16 import can_pack
from hanlin.core.generate.kernels.rotation import hadamard, rotate

ROWS_AT_ONCE = 2**10
"""Of a matrix being turned: what lies beside it stays in the processor's cache."""


class TurnedLinear(nn.Module):
    """y = x·Wᵀ + bias for x (…, in) of any floating type.

    codes: (out, in) int8, of the turned matrix. scales: (out,) float32.
    """

    codes: torch.Tensor
    scales: torch.Tensor
    signs: torch.Tensor
    exact_signs: torch.Tensor
    bias: torch.Tensor | None

    def __init__(self, codes: torch.Tensor, scales: torch.Tensor, bias: torch.Tensor | None, dtype: torch.dtype):
        super().__init__()
        self.out_features, self.in_features = codes.shape
        self.dtype = dtype
        # Rows are turned in bfloat16 where it is multiplied fast: its error is a sixth of what 8 bits round away.
        turned_dtype = torch.bfloat16 if can_pack(codes.device.type) else torch.float32
        self.register_buffer("signs", hadamard(self.in_features, turned_dtype, codes.device), persistent=False)
        self.register_buffer("exact_signs", hadamard(self.in_features, torch.float32, codes.device), persistent=False)
        self.register_buffer("codes", codes, persistent=False)
        self.register_buffer("scales", scales, persistent=False)
        self.register_buffer("bias", bias, persistent=False)

    @classmethod
    def from_linears(cls, *linears: nn.Linear) -> TurnedLinear:
        """Of several layers that read the same, one: their outputs stand beside each other."""
        codes, scales = zip(*(quantize(linear.weight) for linear in linears))
        biases = [linear.bias for linear in linears]
        bias = None
        if any(own is not None for own in biases):
            own = [
                linear.weight.new_zeros(linear.out_features) if b is None else b for linear, b in zip(linears, biases)
            ]
            bias = torch.cat([b.detach().float() for b in own])
        return cls(torch.cat(codes), torch.cat(scales), bias, linears[0].weight.dtype)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self._product(x.reshape(-1, self.in_features))
        if self.bias is not None:
            y = y + self.bias
        return y.view(*x.shape[:-1], self.out_features).to(x.dtype)

    def _product(self, x_NI: torch.Tensor) -> torch.Tensor:
        """float32 (N, out). One row stays as it is: compiled, reading the matrix takes longer than multiplying it."""
        if x_NI.shape[0] == 1:
            turned_NI = rotate(x_NI.float(), self.exact_signs)
            return ((self.codes.float() * turned_NI).sum(-1) * self.scales)[None]
        rounded_NI, scale_N1 = round_turned(rotate(x_NI.to(self.signs.dtype), self.signs).float())
        return torch._int_mm(rounded_NI.to(torch.int8), self.codes.T).float() * (scale_N1 * self.scales)

    def dequantized(self, dtype: torch.dtype) -> torch.Tensor:
        """The numbers the codes stand for, turned back: (out, in)."""
        return rotate(self.codes * self.scales[:, None], self.exact_signs).to(dtype)

    @property
    def weight(self) -> torch.Tensor:
        """A copy: what is written into it is lost."""
        return self.dequantized(self.dtype)

    def extra_repr(self) -> str:
        return f"in_features={self.in_features}, out_features={self.out_features}, bias={self.bias is not None}"


def round_rows(x_NI: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Rows of float32 → whole numbers from −127 to 127 (N, in) of the turned rows, still float32, and scales (N, 1)."""
    return round_turned(rotate(x_NI, hadamard(x_NI.shape[1], torch.float32, x_NI.device)))


def round_turned(turned_NI: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    scale_N1 = (turned_NI.abs().amax(-1, keepdim=True) / 127).clamp(min=1e-30)
    return (turned_NI / scale_N1).round(), scale_N1


def quantize(weight: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """(out, in) of any floating type → codes (out, in) int8 of the turned matrix, scales (out,) float32.

    `rotate` makes rows √B times as long: here, and again where the other side is turned, so the scales take B off.
    """
    codes = torch.empty(weight.shape, dtype=torch.int8, device=weight.device)
    scales = torch.empty(len(weight), device=weight.device)
    signs = hadamard(weight.shape[1], torch.float32, weight.device)
    for part, codes_part, scales_part in zip(*(x.split(ROWS_AT_ONCE) for x in (weight.detach(), codes, scales))):
        rounded, scale_n1 = round_turned(rotate(part.float(), signs))
        codes_part.copy_(rounded)
        scales_part.copy_(scale_n1[:, 0] / len(signs))
    return codes, scales
