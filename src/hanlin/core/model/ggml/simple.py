"""Blocks with one scale, or a scale and an offset, as float16: Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, Q1_0, Q2_0.

q are a block's codes, d its scale, m its offset:

    Q4_0  x = d · (q − 8)     q of 4 bits       Q4_1  x = d · q + m     q of 4 bits
    Q5_0  x = d · (q − 16)    q of 5 bits       Q5_1  x = d · q + m     q of 5 bits
    Q8_0  x = d · q           q of −128 … 127   Q1_0  x = d · (2q − 1)  q of 1 bit, Q2_0  x = d · (q − 1)  q of 2 bits

32 numbers a block (Q1_0 128, Q2_0 64). The fifth bits of Q5 stand together, bit j of `high` is number j's. Q1_0 and
Q2_0 have neighbours in one byte. PrismML's fork of llama.cpp writes a Q2_0 of 128 numbers under the same type number:
its tensors have another size.
"""

from __future__ import annotations

import numpy as np

from hanlin.core.model.ggml.bits import along, pack, reciprocal, single, unpack

Q4_0 = np.dtype([("d", "<f2"), ("codes", "u1", 16)])
Q4_1 = np.dtype([("d", "<f2"), ("m", "<f2"), ("codes", "u1", 16)])
Q5_0 = np.dtype([("d", "<f2"), ("high", "u1", 4), ("codes", "u1", 16)])
Q5_1 = np.dtype([("d", "<f2"), ("m", "<f2"), ("high", "u1", 4), ("codes", "u1", 16)])
Q8_0 = np.dtype([("d", "<f2"), ("codes", "i1", 32)])
Q1_0 = np.dtype([("d", "<f2"), ("codes", "u1", 16)])
Q2_0 = np.dtype([("d", "<f2"), ("codes", "u1", 16)])


def decode_q4_0(blocks: np.ndarray, out: np.ndarray) -> None:
    out[:] = _codes(blocks)
    out -= 8
    out *= single(blocks["d"])


def decode_q4_1(blocks: np.ndarray, out: np.ndarray) -> None:
    out[:] = _codes(blocks)
    out *= single(blocks["d"])
    out += single(blocks["m"])


def decode_q5_0(blocks: np.ndarray, out: np.ndarray) -> None:
    out[:] = _codes(blocks) | _fifth_bits(blocks)
    out -= 16
    out *= single(blocks["d"])


def decode_q5_1(blocks: np.ndarray, out: np.ndarray) -> None:
    out[:] = _codes(blocks) | _fifth_bits(blocks)
    out *= single(blocks["d"])
    out += single(blocks["m"])


def decode_q8_0(blocks: np.ndarray, out: np.ndarray) -> None:
    out[:] = blocks["codes"]
    out *= single(blocks["d"])


def decode_q1_0(blocks: np.ndarray, out: np.ndarray) -> None:
    out[:] = along(blocks["codes"], 1)
    out *= 2
    out -= 1
    out *= single(blocks["d"])


def decode_q2_0(blocks: np.ndarray, out: np.ndarray) -> None:
    out[:] = along(blocks["codes"], 2)
    out -= 1
    out *= single(blocks["d"])


def encode_q4_0(x: np.ndarray, blocks: np.ndarray) -> None:
    """The number farthest from 0 becomes code 0: d = x_far / −8."""
    blocks["codes"] = pack(_signed_codes(x, blocks, 8).reshape(-1, 2, 16), 4)


def encode_q4_1(x: np.ndarray, blocks: np.ndarray) -> None:
    """m = min x, d = (max x − min x) / 15."""
    blocks["codes"] = pack(_offset_codes(x, blocks, 15).reshape(-1, 2, 16), 4)


def encode_q5_0(x: np.ndarray, blocks: np.ndarray) -> None:
    """The number farthest from 0 becomes code 0: d = x_far / −16."""
    _store_five_bits(_signed_codes(x, blocks, 16), blocks)


def encode_q5_1(x: np.ndarray, blocks: np.ndarray) -> None:
    """m = min x, d = (max x − min x) / 31."""
    _store_five_bits(_offset_codes(x, blocks, 31), blocks)


def encode_q8_0(x: np.ndarray, blocks: np.ndarray) -> None:
    """d = max|x| / 127, q = round(x / d), halves away from zero.

    Here as in all these encoders codes come from the scale before it is rounded to float16, as in ggml.
    """
    scale = np.abs(x).max(axis=1, keepdims=True) / np.float32(127)
    blocks["d"] = scale[:, 0]
    blocks["codes"] = round_half_away(x * reciprocal(scale))


def round_half_away(x: np.ndarray) -> np.ndarray:
    """C's roundf. numpy's own `round` sends halves to the even neighbour."""
    whole = np.floor(np.abs(x))
    return np.sign(x) * (whole + np.floor(2 * (np.abs(x) - whole)))


def _codes(blocks: np.ndarray) -> np.ndarray:
    return unpack(blocks["codes"], 4).reshape(-1, 32)


def _fifth_bits(blocks: np.ndarray) -> np.ndarray:
    return np.unpackbits(blocks["high"], axis=1, bitorder="little") << np.uint8(4)


def _signed_codes(x: np.ndarray, blocks: np.ndarray, zero: int) -> np.ndarray:
    """q = ⌊x / d + zero + ½⌋, at most 2 · zero − 1, and d into the blocks."""
    farthest = np.take_along_axis(x, np.abs(x).argmax(axis=1)[:, None], axis=1)
    scale = farthest / np.float32(-zero)
    blocks["d"] = scale[:, 0]
    return np.minimum(x * reciprocal(scale) + np.float32(zero + 0.5), 2 * zero - 1).astype(np.uint8)


def _offset_codes(x: np.ndarray, blocks: np.ndarray, greatest: int) -> np.ndarray:
    """q = ⌊(x − m) / d + ½⌋, and d and m into the blocks."""
    least = x.min(axis=1, keepdims=True)
    scale = (x.max(axis=1, keepdims=True) - least) / np.float32(greatest)
    blocks["d"], blocks["m"] = scale[:, 0], least[:, 0]
    return np.minimum((x - least) * reciprocal(scale) + np.float32(0.5), greatest).astype(np.uint8)


def _store_five_bits(codes: np.ndarray, blocks: np.ndarray) -> None:
    blocks["high"] = np.packbits(codes >> np.uint8(4), axis=1, bitorder="little")
    blocks["codes"] = pack((codes & np.uint8(15)).reshape(-1, 2, 16), 4)
