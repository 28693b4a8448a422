"""Ternary weights, super-blocks of 256 numbers that are −d, 0 or d: TQ1_0 (1.6875 bits a number) and TQ2_0 (2.0625).

    x = d · (q − 1),  q of 0, 1, 2

TQ2_0 gives q two bits. TQ1_0 puts five q into a byte as the digits of a number to the base 3; stored is that number
times 256 / 243, rounded up, so that a digit comes out without a division: multiply by 3, and it is what overflows the
byte. Compilade 2024, https://github.com/ggml-org/llama.cpp/pull/8151.
"""

from __future__ import annotations

import numpy as np

from hanlin.core.model.ggml.bits import look_up, pack, reciprocal, single, unpack
from hanlin.core.model.ggml.simple import round_half_away

TQ1_0 = np.dtype([("first", "u1", 32), ("second", "u1", 16), ("rest", "u1", 4), ("d", "<f2")])
TQ2_0 = np.dtype([("codes", "u1", (2, 32)), ("d", "<f2")])

PARTS = (("first", 5, 0), ("second", 5, 160), ("rest", 4, 240))
"""TQ1_0: field, digits in each of its bytes, its first number. A field's first row of numbers is all first digits."""

POWERS = np.array([1, 3, 9, 27, 81], np.uint8)[:, None]
LEADING_DIGIT = (np.arange(256) * 3 // 256 - 1).astype(np.float32)


def decode_tq1_0(blocks: np.ndarray, out: np.ndarray) -> None:
    shifted = np.empty(out.shape, np.uint8)
    for field, digits, start in PARTS:
        packed = blocks[field]
        row = shifted[:, start : start + digits * packed.shape[1]].reshape(-1, digits, packed.shape[1])
        np.multiply(packed[:, None], POWERS[:digits], out=row)  # what overflows the byte, the digits before, is dropped
    look_up(LEADING_DIGIT, shifted, out)
    out *= single(blocks["d"])


def decode_tq2_0(blocks: np.ndarray, out: np.ndarray) -> None:
    out[:] = unpack(blocks["codes"], 2).reshape(out.shape)
    out -= 1
    out *= single(blocks["d"])


def encode_tq1_0(x: np.ndarray, blocks: np.ndarray) -> None:
    """d = max|x|, q = round(x / d) + 1."""
    codes = _ternary_codes(x, blocks)
    for field, digits, start in PARTS:
        width = blocks[field].shape[1]
        rows = codes[:, start : start + digits * width].reshape(-1, digits, width).astype(np.uint16)
        number = (rows * POWERS[::-1][:digits]).sum(axis=1, dtype=np.uint32)
        blocks[field] = (number * 256 + 242) // 243


def encode_tq2_0(x: np.ndarray, blocks: np.ndarray) -> None:
    """d = max|x|, q = round(x / d) + 1."""
    blocks["codes"] = pack(_ternary_codes(x, blocks).reshape(-1, 2, 4, 32), 2)


def _ternary_codes(x: np.ndarray, blocks: np.ndarray) -> np.ndarray:
    scale = np.abs(x).max(axis=1, keepdims=True)
    blocks["d"] = scale[:, 0]
    return (round_half_away(x * reciprocal(scale)) + 1).astype(np.uint8)
