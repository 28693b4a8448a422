"""Codes of a few bits inside bytes, scales of 16 bits, and tables: what all block formats share.

ggml's blocks don't put neighbours into one byte. A row of W bytes holds 8 / width rows of W codes: the first row in the
lowest bits of all bytes, the next row in the bits above, so that a processor gets W neighbours with one shift.
"""

from __future__ import annotations

import numpy as np


def unpack(packed: np.ndarray, width: int) -> np.ndarray:
    """(…, W) bytes → (…, 8 / width, W) codes of `width` bits, the lowest bits first."""
    codes = np.empty((*packed.shape[:-1], 8 // width, packed.shape[-1]), np.uint8)
    packed = np.ascontiguousarray(packed)  # so that numpy shifts all of them in one go, not block by block
    for place in range(8 // width):
        codes[..., place, :] = packed >> place * width & 2**width - 1
    return codes


def along(packed: np.ndarray, width: int) -> np.ndarray:
    """(…, W) bytes → (…, W · 8 / width) codes, where neighbours do share a byte, the first in the lowest bits."""
    codes = np.empty((*packed.shape, 8 // width), np.uint8)
    packed = np.ascontiguousarray(packed)
    for place in range(8 // width):
        codes[..., place] = packed >> place * width & 2**width - 1
    return codes.reshape(*packed.shape[:-1], -1)


def pack(codes: np.ndarray, width: int) -> np.ndarray:
    """(…, 8 / width, W) codes below 2^width, uint8 → (…, W) bytes: `unpack` backwards."""
    shifts = np.arange(0, 8, width, dtype=np.uint8)[:, None]
    return np.bitwise_or.reduce(codes << shifts, axis=-2)


def single(half: np.ndarray) -> np.ndarray:
    """Scales: (…,) float16 → (…, 1) float32, to be multiplied with a row of numbers."""
    return half.astype(np.float32)[..., None]


def reciprocal(scale: np.ndarray) -> np.ndarray:
    """1 / scale; 0 for a scale of 0 and for one so small that its inverse is infinite."""
    with np.errstate(divide="ignore", over="ignore"):
        inverse = np.float32(1) / scale
    return np.where(np.isfinite(inverse), inverse, np.float32(0))


def look_up(table: np.ndarray, codes: np.ndarray, out: np.ndarray) -> None:
    """out[…] = table[codes]; a table of rows gives a row for each code. Codes must lie inside the table."""
    np.take(table, codes, axis=0, out=out, mode="wrap")  # numpy's own check of the codes would fill a copy of `out`
