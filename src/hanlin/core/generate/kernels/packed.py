"""8-bit codes laid out once for the processor's own product (oneDNN's, by the operator of torch's quantised graphs).

Its left side is unsigned: a row's codes from −127 to 127 are given with 128 added, and told to begin there.
"""

from __future__ import annotations

import functools

import torch

from hanlin.core.generate.kernels.large_pages import in_large_pages


class PackedCodes:
    """(out, in) int8, each output with a scale, float32 (out,)."""

    def __init__(self, codes: torch.Tensor, scales: torch.Tensor):
        self._scales, self._zeros = scales, torch.zeros(len(scales), dtype=torch.int32)
        packed = can_pack_codes(codes.device.type)
        self._packed = torch.ops.onednn.qlinear_prepack(codes, None) if packed else None
        self._codes = None if packed else codes
        in_large_pages(codes if self._packed is None else self._packed)

    def product(self, rows_NI: torch.Tensor) -> torch.Tensor:
        """Whole numbers from −127 to 127, of any dtype, times the codes and scales: float32 (N, out)."""
        if self._codes is not None:
            return torch._int_mm(rows_NI.to(torch.int8), self._codes.T).float().mul_(self._scales)
        return unsigned_product((rows_NI + 128).to(torch.uint8), 128, self._packed, self._scales, self._zeros)


def unsigned_product(
    rows_NI: torch.Tensor, zero: int, packed: torch.Tensor | None, scales_O: torch.Tensor, zeros_O: torch.Tensor
) -> torch.Tensor:
    """(rows − zero)·codesᵀ · scales, float32."""
    rows, output = (rows_NI, 1.0, zero), (1.0, 0, torch.float32)
    return torch.ops.onednn.qlinear_pointwise(*rows, packed, scales_O, zeros_O, None, *output, "none", [], "")


@functools.cache
def can_pack_codes(device: str) -> bool:
    """Whether this torch packs codes for this processor: tried once, because builds differ."""
    if device != "cpu" or not torch.backends.mkldnn.is_available():
        return False
    try:
        codes = torch.arange(-32, 32, dtype=torch.int8).view(4, 16)
        packed = torch.ops.onednn.qlinear_prepack(codes, None)
        rows, zeros = (codes + 64).to(torch.uint8), torch.zeros(4, dtype=torch.int32)
        found = unsigned_product(rows, 64, packed, torch.ones(4), zeros)
        return bool(torch.equal(found, codes.float() @ codes.float().T))
    except (RuntimeError, AttributeError):
        return False
