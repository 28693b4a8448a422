"""Encoders of Q4_K, Q5_K and Q6_K: the search for each sub-block's scale, then its rounding to a code of few bits.

The search is that of ggml's reference quantizer (`quantize_row_q4_K_ref` and its siblings). A step that just reaches a
sub-block's ends does not have the least squared error: clipping a few numbers there can bring all others closer. So
some steps are tried. Each gives codes q, and the codes give the best scale a and offset b by weighted least squares:

    minimise  Σ w · (a·q + b − x)²        w = |x| + the sub-block's root mean square  (Q6_K: b = 0, w = x²)

The (a, b) with the least error wins. A better offset moves the end that later steps start from, which is worth another
0.6 % of the error of Q4_K.

Numbers stand in columns here, one sub-block each (numbers, sub-blocks), so that all sub-blocks are searched together.
A row with numbers beyond 60,000 can overflow the float16 scale: the caller checks.
"""

from __future__ import annotations

import numpy as np

from hanlin.core.model.ggml.bits import pack, reciprocal, single
from hanlin.core.model.ggml.k_quants import SUPER, pack_six_bits

Q4_STEPS = np.arange(-10, 11, dtype=np.float32) / 10
Q5_STEPS = np.arange(-5, 11, dtype=np.float32) / 10
Q6_STEPS = np.arange(-9, 10, dtype=np.float32) / 10
"""Tried are steps that put (greatest code + this) between the sub-block's ends."""

SMALLEST_HALF = np.float32(2**-24)

ROUNDING = np.float32(1e-6)
"""A gain below this share of Σwy² is only float32's rounding. Without it rows that fit exactly would be spoilt."""

FLAT = np.float32(1e-5)
"""Codes whose weighted variance is below this share of their mean square are all equal: no line can be fitted."""


def encode_q4_k(x: np.ndarray, blocks: np.ndarray) -> None:
    blocks["codes"] = pack(_encode_with_offset(x, blocks, 15, Q4_STEPS).reshape(-1, 4, 2, 32), 4)


def encode_q5_k(x: np.ndarray, blocks: np.ndarray) -> None:
    codes = _encode_with_offset(x, blocks, 31, Q5_STEPS)
    blocks["codes"] = pack((codes & np.uint8(15)).reshape(-1, 4, 2, 32), 4)
    blocks["high"] = pack((codes >> np.uint8(4)).reshape(-1, 8, 32), 1)


def encode_q6_k(x: np.ndarray, blocks: np.ndarray) -> None:
    """The sub-block scale farthest from 0 becomes s = −128, the others are rounded to s of −128 … 127."""
    scales = scales_of(np.ascontiguousarray(x.reshape(-1, 16).T), 32, Q6_STEPS).reshape(-1, 16)
    farthest = np.take_along_axis(scales, np.abs(scales).argmax(axis=1)[:, None], axis=1)[:, 0]
    blocks["d"] = _kept(farthest / np.float32(-128))
    blocks["scales"] = np.clip(np.rint(scales * reciprocal(single(blocks["d"]))), -128, 127)
    stored = single(blocks["d"]) * blocks["scales"]
    signed = np.rint(x.reshape(-1, 16, 16) * reciprocal(stored)[..., None])
    codes = (np.clip(signed, -32, 31) + 32).astype(np.uint8).reshape(-1, 2, SUPER // 2)
    blocks["codes"] = pack((codes & np.uint8(15)).reshape(-1, 2, 2, 64), 4)
    blocks["high"] = pack((codes >> np.uint8(4)).reshape(-1, 2, 4, 32), 2)


def scales_and_offsets(x: np.ndarray, greatest: int, steps: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of each column, a ≥ 0 and −b ≥ 0 for codes 0 … greatest. x: (numbers, sub-blocks).

    Offsets can only lower numbers, so a column that is positive throughout has b = 0.
    """
    low = np.minimum(x.min(axis=0), 0)
    width = x.max(axis=0) - low
    y = (x - low) * reciprocal(width)  # 0 … 1
    zero = -low * reciprocal(width)  # where x = 0 lies
    weights = np.abs(x)
    weights += np.sqrt(np.square(x).mean(axis=0))
    sum_w, sum_y, sum_yy = weights.sum(axis=0), _dot(weights, y), _dot(weights * y, y)

    # Before any search: the ends exactly, y = q / greatest.
    q = np.rint(y * np.float32(greatest))
    best_a, best_b = np.full_like(low, 1 / greatest), np.zeros_like(low)
    best = _dot(weights, np.square(q * best_a - y))
    for step in steps:
        slope = (np.float32(greatest) + step) / (1 - best_b)
        np.multiply(y, slope, out=q)
        np.subtract(q, best_b * slope, out=q)
        np.rint(q, out=q)
        np.clip(q, 0, greatest, out=q)
        wq = weights * q
        sum_q, sum_qq, sum_qy = wq.sum(axis=0), _dot(wq, q), _dot(wq, y)
        determinant = sum_w * sum_qq - sum_q * sum_q
        a = (sum_w * sum_qy - sum_y * sum_q) / determinant
        b = (sum_qq * sum_y - sum_q * sum_qy) / determinant
        above = b > zero
        b = np.where(above, zero, b)
        a = np.where(above, (sum_qy - zero * sum_q) / sum_qq, a)
        error = a * a * sum_qq + b * b * sum_w + sum_yy + 2 * (a * b * sum_q - a * sum_qy - b * sum_y)
        better = (error < best - ROUNDING * sum_yy) & (a > 0) & (determinant > FLAT * sum_w * sum_qq)
        for kept, tried in ((best, error), (best_a, a), (best_b, b)):
            np.copyto(kept, tried, where=better)
    return width * best_a, -(low + width * best_b)


def scales_of(x: np.ndarray, zero: int, steps: np.ndarray) -> np.ndarray:
    """Of each column, a for codes −zero … zero − 1. x: (numbers, sub-blocks).

    For given codes a = Σwxq / Σwq² leaves the error Σwx² − (Σwxq)² / Σwq²: the codes with the greatest last term win.
    """
    farthest = np.take_along_axis(x, np.abs(x).argmax(axis=0)[None], axis=0)[0]
    y = x * reciprocal(farthest)  # −1 … 1, with 1 where x is farthest from 0: it becomes code −zero
    wy = np.square(y) * y
    weights = np.square(y)
    best_a, best = np.full_like(farthest, -1 / zero), np.full_like(farthest, -np.inf)
    for step in steps:
        q = np.rint(y * -(np.float32(zero) + step))
        np.clip(q, -zero, zero - 1, out=q)
        sum_qy, sum_qq = _dot(wy, q), _dot(weights * q, q)
        a = sum_qy / sum_qq
        better = a * sum_qy > best
        np.copyto(best, a * sum_qy, where=better)
        np.copyto(best_a, a, where=better)
    return farthest * best_a


def _encode_with_offset(x: np.ndarray, blocks: np.ndarray, greatest: int, steps: np.ndarray) -> np.ndarray:
    """Codes (n, 8, 32) of Q4_K or Q5_K, and d, m and the scales into the blocks.

    The greatest scale and the greatest offset of a super-block become s = 63 and o = 63. Codes are rounded with the
    scales as stored, which makes good some of what those lost.
    """
    columns = np.ascontiguousarray(x.reshape(-1, 32).T)
    scales, offsets = (part.reshape(-1, 8) for part in scales_and_offsets(columns, greatest, steps))
    blocks["d"], blocks["m"] = (_kept(values.max(axis=1) / np.float32(63)) for values in (scales, offsets))
    s, o = (
        np.minimum(np.rint(values * reciprocal(single(blocks[field]))), 63).astype(np.uint8)
        for values, field in ((scales, "d"), (offsets, "m"))
    )
    blocks["scales"] = pack_six_bits(s, o)
    step, offset = single(blocks["d"]) * s, single(blocks["m"]) * o
    codes = (x.reshape(-1, 8, 32) + offset[..., None]) * reciprocal(step)[..., None]
    return np.clip(np.rint(codes), 0, greatest).astype(np.uint8)


def _kept(scale: np.ndarray) -> np.ndarray:
    """A scale at least as great as float16's smallest, or 0: very small weights get a coarse scale, not none."""
    return np.sign(scale) * np.maximum(np.abs(scale), SMALLEST_HALF)


def _dot(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Σ a·b of each column."""
    return np.einsum("ij,ij->j", a, b)
