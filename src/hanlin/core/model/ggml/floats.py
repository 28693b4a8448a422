"""Plain numbers, no blocks: F32, F16, BF16, F64 and the whole numbers I8, I16, I32, I64, all little endian.

BF16 is the upper half of a float32: 8 bits of exponent, 7 of fraction. All are read as float32, so a float64 is rounded
and a whole number keeps 24 bits.
"""

from __future__ import annotations

import numpy as np

from hanlin.core.model.ggml.bits import look_up

F32, F16, BF16, F64 = np.dtype("<f4"), np.dtype("<f2"), np.dtype("<u2"), np.dtype("<f8")
I8, I16, I32, I64 = np.dtype("<i1"), np.dtype("<i2"), np.dtype("<i4"), np.dtype("<i8")

HALVES = np.arange(2**16, dtype=np.uint16).view(np.float16).astype(np.float32)
"""Every float16 as float32. Looking numbers up is several times as fast as numpy's conversion."""


def decode_f16(numbers: np.ndarray, out: np.ndarray) -> None:
    look_up(HALVES, numbers.view(np.uint16), out[:, 0])


def decode_number(numbers: np.ndarray, out: np.ndarray) -> None:
    """x as float32, to nearest even."""
    out[:, 0] = numbers


def encode_number(x: np.ndarray, numbers: np.ndarray) -> None:
    """To nearest even. In F16 a number from 65,520 on becomes infinite: the caller checks."""
    numbers[:] = x[:, 0]


def decode_bf16(numbers: np.ndarray, out: np.ndarray) -> None:
    np.left_shift(numbers, 16, out=out.view(np.uint32)[:, 0], dtype=np.uint32)


def encode_bf16(x: np.ndarray, numbers: np.ndarray) -> None:
    """To nearest even: add half of the last kept bit, and a last bit if that bit is set, then cut. NaN stays NaN."""
    bits = np.ascontiguousarray(x).view(np.uint32)[:, 0]
    rounded = bits + ((bits >> np.uint32(16)) & np.uint32(1)) + np.uint32(0x7FFF)
    quiet = bits | np.uint32(0x400000)  # the bit of the fraction that survives the cut
    numbers[:] = np.where(np.isnan(x[:, 0]), quiet, rounded) >> np.uint32(16)
