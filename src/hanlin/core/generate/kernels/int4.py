"""Matrices in planes of 4 bits, a scale and a zero for each 32 numbers of a row, laid out for torch's own kernel.

    W ≈ Σ_planes (code − 8) · scale + zero,   code 0 … 15,  scale = (max − min) / 15,  zero = min + 8 · scale

One plane holds what came from blocks of 4 bits (Q4_0, Q4_1 and Q4_K files), but for the rounding of scale and zero to
bfloat16. A second plane holds what the first leaves of a matrix: together nearly 8 bits, and finer than one scale a row
where a row's parts differ in size. Two such products cost about as much as one of int8.py.
"""

from __future__ import annotations

import torch
from torch import nn

from hanlin.core.generate.kernels.bfloat16 import Bfloat16Matrix
from hanlin.core.generate.kernels.linear import CodedLinear

GROUP = 32
"""Numbers that share a scale: the smallest group of torch's kernel, and ggml's block."""
ROWS = 16
"""Outputs the kernel takes at a time."""
GPU_TILES = 2
"""Of 16 inputs that a GPU's kernel takes together: its smallest, so that every whole group fits."""
FEW_ROWS = 4
"""Until it is measured (choose.py)."""
RANGES = (15, 14, 13)
"""Codes between a group's smallest and largest number that are tried: files of 4-bit blocks don't use all in each."""
HELD = 0.01
"""A plane that leaves less than this share of a matrix (root mean square) holds it."""


class Int4Linear(CodedLinear):
    """planes: of each the packed codes and (in / 32, out, 2) bfloat16 scales and zeros."""

    def __init__(
        self,
        shape: tuple[int, int],
        planes: list[tuple[torch.Tensor, torch.Tensor]],
        bias: torch.Tensor | None,
        dtype: torch.dtype,
        few_rows: int = FEW_ROWS,
        wide: Bfloat16Matrix | None = None,
    ):
        super().__init__(shape, bias, dtype, few_rows, wide)
        self.num_planes = len(planes)
        for number, (codes, scales) in enumerate(planes):
            self.register_buffer(f"codes_{number}", codes, persistent=False)
            self.register_buffer(f"scales_{number}", scales, persistent=False)
        self.codes_0: torch.Tensor
        self._planes = planes

    @classmethod
    def from_linear(
        cls, linear: nn.Linear, most_planes: int = 1, few_rows: int = FEW_ROWS, keep_wide: bool = True
    ) -> Int4Linear:
        """most_planes: 2 adds a plane where one doesn't hold the matrix."""
        weight = linear.weight.detach()
        planes = [pack(*part) for part in planes_of(weight, most_planes)]
        wide = Bfloat16Matrix(weight) if keep_wide else None
        bias = None if linear.bias is None else linear.bias.detach()
        return cls((weight.shape[0], weight.shape[1]), planes, bias, weight.dtype, few_rows, wide)

    @property
    def codes_name(self) -> str:
        return f"{self.num_planes} planes of 4 bits"

    def narrow(self, x_NI: torch.Tensor) -> torch.Tensor:
        y_NO = product(x_NI, *self._planes[0])
        for plane in self._planes[1:]:
            y_NO += product(x_NI, *plane)
        return y_NO

    def dequantized(self, dtype: torch.dtype) -> torch.Tensor:
        # The kernel itself says what its codes stand for: each sum has one term.
        identity = torch.eye(self.in_features, dtype=torch.bfloat16, device=self.codes_0.device)
        return self.narrow(identity).T.contiguous().to(dtype)


def fits(linear: nn.Linear) -> bool:
    """Whether torch's kernel takes a matrix of this shape."""
    return linear.in_features % GROUP == 0 and linear.out_features % ROWS == 0


def planes_of(weight: torch.Tensor, most: int) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """(out, in) → for each plane codes (out, in) int32 and scales with zeros (in / 32, out, 2) bfloat16."""
    left = weight.float()
    size = left.square().mean()
    planes: list[tuple[torch.Tensor, torch.Tensor]] = []
    for _ in range(most):
        codes, scale, zero = encode(left, RANGES if not planes else RANGES[:1])
        planes.append((codes, torch.stack([scale, zero], dim=-1).transpose(0, 1).contiguous()))
        left = left - decode(codes, scale, zero)
        if left.square().mean() <= HELD**2 * size:
            break
    return planes


def encode(weight: torch.Tensor, ranges: tuple[int, ...]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """codes (out, in) int32, scales and zeros (out, in / 32) bfloat16; of several ranges the one that errs least."""
    groups = weight.unflatten(1, (-1, GROUP))
    low, high = groups.amin(-1), groups.amax(-1)
    best: tuple[torch.Tensor, ...] | None = None
    for steps in ranges:
        scale = ((high - low) / steps).bfloat16().clamp(min=1e-30)
        zero = (low + 8 * scale.float()).bfloat16()
        codes = ((groups - zero.float()[..., None]) / scale.float()[..., None]).round_().add_(8).clamp_(0, 15)
        error = ((codes - 8) * scale.float()[..., None] + zero.float()[..., None] - groups).square_().sum(-1)
        if best is None:
            best = codes, scale, zero, error
        else:
            better = error < best[3]
            best = (
                torch.where(better[..., None], codes, best[0]),
                *(torch.where(better, new, old) for new, old in zip((scale, zero, error), best[1:])),
            )
    assert best is not None
    return best[0].flatten(1).int(), best[1], best[2]


def decode(codes: torch.Tensor, scale: torch.Tensor, zero: torch.Tensor) -> torch.Tensor:
    """What codes stand for, (out, in) float32."""
    groups = (codes.unflatten(1, (-1, GROUP)) - 8) * scale.float()[..., None] + zero.float()[..., None]
    return groups.flatten(1)


def pack(codes: torch.Tensor, scales: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    if codes.device.type == "cpu":
        return torch.ops.aten._convert_weight_to_int4pack_for_cpu(codes.contiguous(), 1), scales
    pairs = (codes[:, ::2] << 4 | codes[:, 1::2]).to(torch.uint8)
    return torch.ops.aten._convert_weight_to_int4pack(pairs, GPU_TILES), scales


def product(x_NI: torch.Tensor, packed: torch.Tensor, scales: torch.Tensor) -> torch.Tensor:
    """x·Wᵀ of one plane: bfloat16 (N, in) → (N, out)."""
    if x_NI.device.type == "cpu":
        return torch.ops.aten._weight_int4pack_mm_for_cpu(x_NI, packed, GROUP, scales)
    return torch.ops.aten._weight_int4pack_mm(x_NI, packed, GROUP, scales)
