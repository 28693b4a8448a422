"""How ggml stores a tensor's numbers: F32, F16 and Q8_0 (https://github.com/ggml-org/ggml, ggml-quants.c).

Encoders return the bytes of a file, decoders give back what a reader of that file computes with.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

BLOCK = 32
"""Numbers that share one scale in Q8_0."""


@dataclass(frozen=True)
class TensorType:
    """One of ggml's tensor types. `block` numbers take `block_bytes`; a row is a whole number of blocks.

    encode: (N,) float32 → (bytes,) uint8.  decode: (bytes,) uint8 → (N,) float32.
    """

    name: str
    number: int
    file_type: int
    block: int
    block_bytes: int
    encode: Callable[[np.ndarray], np.ndarray]
    decode: Callable[[np.ndarray], np.ndarray]

    def num_bytes(self, shape: tuple[int, ...]) -> int:
        return int(np.prod(shape, dtype=np.int64)) // self.block * self.block_bytes


def encode_f32(x_N: np.ndarray) -> np.ndarray:
    return x_N.astype("<f4").view(np.uint8)


def decode_f32(data: np.ndarray) -> np.ndarray:
    return data.view("<f4").astype(np.float32)


def encode_f16(x_N: np.ndarray) -> np.ndarray:
    """IEEE half precision, to nearest even. A number above 65,504 becomes infinite: the caller checks."""
    with np.errstate(over="ignore"):
        return x_N.astype("<f2").view(np.uint8)


def decode_f16(data: np.ndarray) -> np.ndarray:
    return data.view("<f2").astype(np.float32)


def encode_q8_0(x_N: np.ndarray) -> np.ndarray:
    """Per block of 32: d = max|x| / 127 as F16, then 32 codes q = round(x / d) as int8.

    As in ggml, codes use d before it is rounded to F16, and halves round away from zero.
    """
    blocks = x_N.reshape(-1, BLOCK)
    scale = np.abs(blocks).max(axis=1, keepdims=True) / np.float32(127)
    with np.errstate(divide="ignore", over="ignore"):
        inverse = np.float32(1) / scale
        stored_scale = scale.astype("<f2").view(np.uint8)
    # Blocks of zeros, or so small that 1/d is infinite (their stored scale is 0 anyway): codes 0.
    codes = round_half_away(blocks * np.where(np.isfinite(inverse), inverse, np.float32(0)))
    return np.concatenate([stored_scale, codes.astype(np.int8).view(np.uint8)], axis=1).reshape(-1)


def decode_q8_0(data: np.ndarray) -> np.ndarray:
    """x = d · q."""
    blocks = data.reshape(-1, 2 + BLOCK)
    scale = np.ascontiguousarray(blocks[:, :2]).view("<f2").astype(np.float32)
    return (scale * blocks[:, 2:].view(np.int8).astype(np.float32)).reshape(-1)


def round_half_away(x: np.ndarray) -> np.ndarray:
    """C's roundf. numpy's own `round` sends halves to the even neighbour."""
    whole = np.floor(np.abs(x))
    return np.sign(x) * (whole + np.floor(2 * (np.abs(x) - whole)))


F32 = TensorType("f32", 0, 0, 1, 4, encode_f32, decode_f32)
F16 = TensorType("f16", 1, 1, 1, 2, encode_f16, decode_f16)
Q8_0 = TensorType("q8_0", 8, 7, BLOCK, 2 + BLOCK, encode_q8_0, decode_q8_0)

TYPES = {kind.name: kind for kind in (F32, F16, Q8_0)}


def type_for(shape: tuple[int, ...], wanted: TensorType) -> TensorType:
    """The type a tensor gets in a file of `wanted`: norms (one dimension) stay F32, rows that don't fill blocks F16."""
    if len(shape) < 2:
        return F32
    return wanted if shape[-1] % wanted.block == 0 else F16


def encode(tensor: torch.Tensor, kind: TensorType) -> np.ndarray:
    """Bytes of a tensor of any float dtype and shape, row by row."""
    return kind.encode(tensor.detach().to("cpu", torch.float32).reshape(-1).numpy())


def decode(data: np.ndarray, shape: tuple[int, ...], kind: TensorType) -> torch.Tensor:
    """float32 tensor of `shape` from its bytes."""
    return torch.from_numpy(kind.decode(data)).reshape(shape)
