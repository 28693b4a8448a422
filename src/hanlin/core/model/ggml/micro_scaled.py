"""Four-bit floats with a small float as scale: MXFP4 and NVFP4.

A number is E2M1: sign, two bits of exponent, one of fraction, so ±0, ½, 1, 1½, 2, 3, 4, 6. Tables hold twice that,
whole numbers, and half the scales.

    MXFP4  32 numbers, scale E8M0 = 2^(e − 127)   https://www.opencompute.org/documents/ocp-microscaling-formats-mx-v1-0-spec-final-pdf
    NVFP4  64 numbers, each 16 with a scale E4M3  (eight bits without sign: 4 exponent with bias 7, 3 fraction)
"""

from __future__ import annotations

import numpy as np

from hanlin.core.model.ggml.bits import look_up, pack, unpack

MXFP4 = np.dtype([("d", "u1"), ("codes", "u1", 16)])
NVFP4 = np.dtype([("d", "u1", 4), ("codes", "u1", (4, 8))])

MAGNITUDES = np.array([0, 1, 2, 3, 4, 6, 8, 12], np.float32)
E2M1_DOUBLED = np.concatenate([MAGNITUDES, [np.float32(0)], -MAGNITUDES[1:]])
"""By code. "Minus zero", code 8, is read as 0."""

E8M0_HALVED = np.ldexp(np.float32(1), np.arange(256) - 128).astype(np.float32)


def _e4m3_halved() -> np.ndarray:
    """By byte. The highest bit is ignored; 0x7F, not a number elsewhere, is read as 0."""
    exponent, fraction = np.arange(256) >> 3 & 15, (np.arange(256) & 7).astype(np.float32)
    table = np.where(exponent == 0, np.ldexp(fraction, -9), np.ldexp(1 + fraction / 8, exponent - 7)) / 2
    table[0x7F] = 0
    return table.astype(np.float32)


E4M3_HALVED = _e4m3_halved()


def decode_mxfp4(blocks: np.ndarray, out: np.ndarray) -> None:
    look_up(E2M1_DOUBLED, unpack(blocks["codes"], 4).reshape(out.shape), out)
    out *= E8M0_HALVED[blocks["d"]][:, None]


def decode_nvfp4(blocks: np.ndarray, out: np.ndarray) -> None:
    look_up(E2M1_DOUBLED, unpack(blocks["codes"], 4).reshape(out.shape), out)
    x = out.reshape(-1, 4, 16)
    x *= E4M3_HALVED[blocks["d"]][..., None]


def encode_mxfp4(x: np.ndarray, blocks: np.ndarray) -> None:
    """e = ⌊log₂ max|x|⌋ − 2 + 127, so that max|x| / scale is in 4 … 8; the nearest number, of two the lesser."""
    farthest = np.abs(x).max(axis=1)
    with np.errstate(divide="ignore"):
        exponent = np.floor(np.log2(farthest)) + np.float32(125)
    blocks["d"] = np.where(farthest > 0, np.maximum(exponent, 0), 0)
    steps = np.abs(x) / E8M0_HALVED[blocks["d"]][:, None]
    magnitude = np.searchsorted((MAGNITUDES[1:] + MAGNITUDES[:-1]) / 2, steps).astype(np.uint8)
    negative = (x < 0) & (magnitude > 0)
    blocks["codes"] = pack((magnitude | negative.astype(np.uint8) << 3).reshape(-1, 2, 16), 4)
