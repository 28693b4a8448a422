"""K-quants: super-blocks of 256 numbers in sub-blocks of 16 or 32, whose scales are themselves codes of few bits.

q are a number's code, s and o its sub-block's scale and offset as codes, d and m the super-block's, float16:

    Q2_K  x = d·s · q − m·o        q of 2 bits, 16 sub-blocks, s and o of 4 bits               2.625 bits a number
    Q3_K  x = d·(s − 32) · (q − 4) q of 3 bits, 16 sub-blocks, s of 6 bits                     3.4375
    Q4_K  x = d·s · q − m·o        q of 4 bits,  8 sub-blocks, s and o of 6 bits               4.5
    Q5_K  x = d·s · q − m·o        q of 5 bits,  8 sub-blocks, s and o of 6 bits               5.5
    Q6_K  x = d·s · (q − 32)       q of 6 bits, 16 sub-blocks, s of 8 bits with a sign         6.5625

Kawrakow 2023, https://github.com/ggml-org/llama.cpp/pull/1684. Products are formed from left to right, in float32.
Encoders are in k_search.py.
"""

from __future__ import annotations

import numpy as np

from hanlin.core.model.ggml.bits import single, unpack

SUPER = 256
"""Numbers of a super-block."""

Q2_K = np.dtype([("scales", "u1", 16), ("codes", "u1", (2, 32)), ("d", "<f2"), ("m", "<f2")])
Q3_K = np.dtype([("high", "u1", 32), ("codes", "u1", (2, 32)), ("scales", "u1", 12), ("d", "<f2")])
Q4_K = np.dtype([("d", "<f2"), ("m", "<f2"), ("scales", "u1", (3, 4)), ("codes", "u1", (4, 32))])
Q5_K = np.dtype([("d", "<f2"), ("m", "<f2"), ("scales", "u1", (3, 4)), ("high", "u1", 32), ("codes", "u1", (4, 32))])
Q6_K = np.dtype([("codes", "u1", (2, 64)), ("high", "u1", (2, 32)), ("scales", "i1", 16), ("d", "<f2")])


def decode_q2_k(blocks: np.ndarray, out: np.ndarray) -> None:
    """A byte of `scales` is s | o << 4."""
    x = out.reshape(-1, 16, 16)
    x[:] = unpack(blocks["codes"], 2).reshape(x.shape)
    x *= (single(blocks["d"]) * (blocks["scales"] & 15))[..., None]
    x -= (single(blocks["m"]) * (blocks["scales"] >> 4))[..., None]


def decode_q3_k(blocks: np.ndarray, out: np.ndarray) -> None:
    """`high` holds the third bits. `scales`: 8 bytes with the lower four bits of s, then 4 bytes with the upper two."""
    low = unpack(blocks["codes"], 2).reshape(-1, SUPER)
    high = unpack(blocks["high"], 1).reshape(-1, SUPER)
    s = unpack(blocks["scales"][:, :8], 4).reshape(-1, 16) | unpack(blocks["scales"][:, 8:], 2).reshape(-1, 16) << 4
    out[:] = low | high << np.uint8(2)
    out -= 4
    x = out.reshape(-1, 16, 16)
    x *= (single(blocks["d"]) * (s.astype(np.float32) - 32))[..., None]


def decode_q4_k(blocks: np.ndarray, out: np.ndarray) -> None:
    scales, offsets = _scales_and_offsets(blocks)
    x = out.reshape(-1, 8, 32)
    x[:] = unpack(blocks["codes"], 4).reshape(x.shape)
    x *= scales
    x -= offsets


def decode_q5_k(blocks: np.ndarray, out: np.ndarray) -> None:
    """Bit b of byte j of `high` is the fifth bit of number j in sub-block b."""
    scales, offsets = _scales_and_offsets(blocks)
    x = out.reshape(-1, 8, 32)
    x[:] = unpack(blocks["codes"], 4).reshape(x.shape) | unpack(blocks["high"], 1) << np.uint8(4)
    x *= scales
    x -= offsets


def decode_q6_k(blocks: np.ndarray, out: np.ndarray) -> None:
    """Of each half of 128 numbers: 64 bytes with the lower four bits, 32 bytes with the upper two."""
    low, high = unpack(blocks["codes"], 4).reshape(-1, SUPER), unpack(blocks["high"], 2).reshape(-1, SUPER)
    out[:] = low | high << np.uint8(4)
    out -= 32
    x = out.reshape(-1, 16, 16)
    x *= (single(blocks["d"]) * blocks["scales"])[..., None]


def unpack_six_bits(scales: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(n, 3, 4) bytes → s (n, 8), o (n, 8) of Q4_K and Q5_K, each below 64.

    Bytes a, b, c of column i: s_i and o_i are the lower six bits of a and b; s_{i+4} and o_{i+4} have their lower four
    bits in c (s below, o above) and their upper two where a and b have room.
    """
    a, b, c = np.ascontiguousarray(scales).view(np.uint32)[..., 0].T  # four columns at once
    s = np.stack([a & 0x3F3F3F3F, c & 0x0F0F0F0F | a >> 2 & 0x30303030], axis=1)
    o = np.stack([b & 0x3F3F3F3F, c >> 4 & 0x0F0F0F0F | b >> 2 & 0x30303030], axis=1)
    return s.view(np.uint8), o.view(np.uint8)


def pack_six_bits(s: np.ndarray, o: np.ndarray) -> np.ndarray:
    """`unpack_six_bits` backwards."""
    a, b = s[:, :4] | (s[:, 4:] >> 4) << 6, o[:, :4] | (o[:, 4:] >> 4) << 6
    return np.stack([a, b, (s[:, 4:] & 15) | (o[:, 4:] & 15) << 4], axis=1)


def _scales_and_offsets(blocks: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """d·s and m·o, (n, 8, 1) each."""
    s, o = unpack_six_bits(blocks["scales"])
    return (single(blocks["d"]) * s)[..., None], (single(blocks["m"]) * o)[..., None]
