"""I-quants: several numbers share a code, which stands for a row of a grid (grids.py); signs are stored apart.

d is a super-block's scale (float16), s the scale of a sub-block of 16 or 32, g a row of the grid, ± its signs:

    IQ2_XXS  x = d·(½ + s)/4 · g·±    8 numbers by  8 bits, and 7 signs
    IQ2_XS   x = d·(½ + s)/4 · g·±    8 numbers by  9 bits, and 7 signs
    IQ2_S    x = d·(½ + s)/4 · g·±    8 numbers by 10 bits, and 8 signs
    IQ3_XXS  x = d·(½ + s)/2 · g·±    4 numbers by  8 bits, 8 numbers by 7 signs
    IQ3_S    x = d·(2s + 1) · g·±     4 numbers by  9 bits, 8 numbers by 8 signs
    IQ1_S    x = d·(2s + 1) · (g + δ)  8 numbers by 11 bits, 32 numbers by a sign of δ
    IQ1_M    x = d·(2s + 1) · (g + δ)  8 numbers by 11 bits and a sign of δ
    IQ4_NL   x = d · v[q]             each number by 4 bits, blocks of 32
    IQ4_XS   x = d·(s − 32) · v[q]    each number by 4 bits

Seven signs stand for eight, whose minus signs are even in number. δ is ⅛ or −⅛; v are sixteen unevenly spaced values.
Kawrakow 2024, https://github.com/ggml-org/llama.cpp/pull/4773 and later; the grids are QuIP#'s idea,
https://arxiv.org/abs/2402.04396.
"""

from __future__ import annotations

from functools import cache

import numpy as np

from hanlin.core.model.ggml.bits import along, look_up, single, unpack
from hanlin.core.model.ggml.grids import even_signs, grid, signs

IQ2_XXS = np.dtype([("d", "<f2"), ("groups", [("codes", "u1", 4), ("rest", "<u4")], 8)])
IQ2_XS = np.dtype([("d", "<f2"), ("codes", "<u2", 32), ("scales", "u1", 8)])
IQ2_S = np.dtype([("d", "<f2"), ("codes", "u1", 32), ("signs", "u1", 32), ("high", "u1", 8), ("scales", "u1", 8)])
IQ3_XXS = np.dtype([("d", "<f2"), ("codes", "u1", 64), ("rest", "<u4", 8)])
IQ3_S = np.dtype([("d", "<f2"), ("codes", "u1", 64), ("high", "u1", 8), ("signs", "u1", 32), ("scales", "u1", 4)])
IQ1_S = np.dtype([("d", "<f2"), ("codes", "u1", 32), ("high", "<u2", 8)])
IQ1_M = np.dtype([("codes", "u1", 32), ("high", "u1", 16), ("scales", "<u2", 4)])
IQ4_NL = np.dtype([("d", "<f2"), ("codes", "u1", 16)])
IQ4_XS = np.dtype([("d", "<f2"), ("high", "u1", 2), ("scales", "u1", 4), ("codes", "u1", (8, 16))])

HALF, QUARTER, DELTA = np.float32(0.5), np.float32(0.25), np.float32(0.125)
V = np.array([-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113], np.float32)


def decode_iq2_xxs(blocks: np.ndarray, out: np.ndarray) -> None:
    """`rest` of each 32 numbers: four times seven signs, then four bits of s."""
    rest = blocks["groups"]["rest"]
    scale = single(blocks["d"]) * (HALF + (rest >> 28).astype(np.float32)) * QUARTER
    _fill(out, grid("iq2_xxs"), blocks["groups"]["codes"], even_signs(), _sevens(rest), scale)


def decode_iq2_xs(blocks: np.ndarray, out: np.ndarray) -> None:
    """A code's lower nine bits are the grid's, the upper seven the signs'. `scales`: four bits for each 16 numbers."""
    scale = single(blocks["d"]) * (HALF + along(blocks["scales"], 4)) * QUARTER
    _fill(out, grid("iq2_xs"), blocks["codes"] & 511, even_signs(), blocks["codes"] >> 9, scale)


def decode_iq2_s(blocks: np.ndarray, out: np.ndarray) -> None:
    """`high`: two more bits for each code. `scales`: four bits for each 16 numbers."""
    scale = single(blocks["d"]) * (HALF + along(blocks["scales"], 4)) * QUARTER
    codes = blocks["codes"] | along(blocks["high"], 2).astype(np.uint16) << 8
    _fill(out, grid("iq2_s"), codes, signs(), blocks["signs"], scale)


def decode_iq3_xxs(blocks: np.ndarray, out: np.ndarray) -> None:
    """`rest` of each 32 numbers: four times seven signs, then four bits of s."""
    scale = single(blocks["d"]) * (HALF + (blocks["rest"] >> 28).astype(np.float32)) * HALF
    _fill(out, grid("iq3_xxs"), blocks["codes"], even_signs(), _sevens(blocks["rest"]), scale)


def decode_iq3_s(blocks: np.ndarray, out: np.ndarray) -> None:
    """`high`: one more bit for each code. `scales`: four bits for each 32 numbers."""
    scale = single(blocks["d"]) * (1 + 2 * along(blocks["scales"], 4))
    codes = blocks["codes"] | along(blocks["high"], 1).astype(np.uint16) << 8
    _fill(out, grid("iq3_s"), codes, signs(), blocks["signs"], scale)


def decode_iq1_s(blocks: np.ndarray, out: np.ndarray) -> None:
    """`high` of each 32 numbers: four times three more bits of the codes, three bits of s, and whether δ is below 0."""
    high = blocks["high"]
    codes = blocks["codes"] | _threes(high) << 8 | np.repeat(high >> 15, 4, axis=1) << 11
    look_up(_grid_and_delta(), codes, out.reshape(-1, 32, 8))
    x = out.reshape(-1, 8, 32)
    x *= (single(blocks["d"]) * (2 * (high >> 12 & 7) + 1))[..., None]


def decode_iq1_m(blocks: np.ndarray, out: np.ndarray) -> None:
    """`high`: for each code three more bits, and whether δ of its 8 numbers is below 0.

    `scales`: four times three bits of s, each for 16 numbers; the upper four bits of the four words are d's.
    """
    scales = blocks["scales"]
    codes = blocks["codes"] | along(blocks["high"], 4).astype(np.uint16) << 8
    look_up(_grid_and_delta(), codes, out.reshape(-1, 32, 8))
    d = np.bitwise_or.reduce(scales >> 12 << np.arange(0, 16, 4, dtype=np.uint16), axis=1).view(np.float16)
    x = out.reshape(-1, 16, 16)
    x *= (single(d) * (2 * _threes(scales) + 1))[..., None]


def decode_iq4_nl(blocks: np.ndarray, out: np.ndarray) -> None:
    look_up(V, unpack(blocks["codes"], 4).reshape(out.shape), out)
    out *= single(blocks["d"])


def decode_iq4_xs(blocks: np.ndarray, out: np.ndarray) -> None:
    """`scales`: the lower four bits of each s, `high`: the upper two."""
    s = along(blocks["scales"], 4) | along(blocks["high"], 2) << np.uint8(4)
    look_up(V, unpack(blocks["codes"], 4).reshape(out.shape), out)
    x = out.reshape(-1, 8, 32)
    x *= (single(blocks["d"]) * (s.astype(np.float32) - 32))[..., None]


def _fill(
    out: np.ndarray,
    rows: np.ndarray,
    codes: np.ndarray,
    sign_rows: np.ndarray,
    sign_codes: np.ndarray,
    scale: np.ndarray,
) -> None:
    """x = scale · row of the grid · signs. scale: (n, sub-blocks), each for an equal share of a super-block."""
    look_up(rows, codes, out.reshape(*codes.shape, rows.shape[1]))
    out *= np.take(sign_rows, sign_codes, axis=0, mode="wrap").reshape(out.shape)
    x = out.reshape(*scale.shape, -1)
    x *= scale[..., None]


@cache
def _grid_and_delta() -> np.ndarray:
    """(4096, 8): g + ⅛, then g − ⅛, so that the bit above the grid's eleven says which."""
    rows = grid("iq1_s")
    return np.concatenate([rows + DELTA, rows - DELTA])


def _sevens(words: np.ndarray) -> np.ndarray:
    """(n, 8) uint32 → (n, 8, 4): the lower 28 bits in four parts."""
    return words[..., None] >> np.arange(0, 28, 7, dtype=np.uint32) & np.uint32(127)


def _threes(words: np.ndarray) -> np.ndarray:
    """(n, W) uint16 → (n, 4W): the lower 12 bits in four parts."""
    parts = words[..., None] >> np.arange(0, 12, 3, dtype=np.uint16) & np.uint16(7)
    return parts.reshape(len(words), -1)
