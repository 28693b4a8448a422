"""The table of ggml's tensor types, and tensors to and from their bytes."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from hanlin.core.model.ggml import floats, i_quants, k_quants, k_search, micro_scaled, simple, ternary

AT_ONCE = 2**20
"""Numbers worked on together: many enough to make numpy's calls cheap, few enough to take little memory."""

COPIED_AT_ONCE = 2**14
"""Below the 2^15 numbers from which torch shares a copy among its threads: on a busy machine they are waited for longer
than the copy takes."""


@dataclass(frozen=True)
class TensorType:
    """One of ggml's tensor types. A row is a whole number of blocks of `block` numbers each.

    number: in a GGUF file's tensor table. file_type: llama.cpp's number for a whole file of it, if there is one.
    layout: a block's fields. decode: blocks (n,) of `layout` → fills (n, block) float32.
    encode: (n, block) float32 → fills blocks (n,); None where we only read.
    """

    name: str
    number: int
    file_type: int | None
    block: int
    layout: np.dtype
    decode: Callable[[np.ndarray, np.ndarray], None]
    encode: Callable[[np.ndarray, np.ndarray], None] | None = None

    @property
    def block_bytes(self) -> int:
        return self.layout.itemsize

    def num_bytes(self, shape: tuple[int, ...]) -> int:
        """Raises ValueError when rows don't fill blocks."""
        row = shape[-1] if shape else 1
        if row % self.block:
            raise ValueError(f"{self.name} stores blocks of {self.block} numbers; rows of {row} don't fill them.")
        return math.prod(shape) // self.block * self.block_bytes


F32 = TensorType("f32", 0, 0, 1, floats.F32, floats.decode_number, floats.encode_number)
F16 = TensorType("f16", 1, 1, 1, floats.F16, floats.decode_f16, floats.encode_number)
BF16 = TensorType("bf16", 30, 32, 1, floats.BF16, floats.decode_bf16, floats.encode_bf16)
Q8_0 = TensorType("q8_0", 8, 7, 32, simple.Q8_0, simple.decode_q8_0, simple.encode_q8_0)

ALL = (
    F32,
    F16,
    BF16,
    TensorType("f64", 28, None, 1, floats.F64, floats.decode_number),
    TensorType("i8", 24, None, 1, floats.I8, floats.decode_number),
    TensorType("i16", 25, None, 1, floats.I16, floats.decode_number),
    TensorType("i32", 26, None, 1, floats.I32, floats.decode_number),
    TensorType("i64", 27, None, 1, floats.I64, floats.decode_number),
    TensorType("q4_0", 2, 2, 32, simple.Q4_0, simple.decode_q4_0, simple.encode_q4_0),
    TensorType("q4_1", 3, 3, 32, simple.Q4_1, simple.decode_q4_1, simple.encode_q4_1),
    TensorType("q5_0", 6, 8, 32, simple.Q5_0, simple.decode_q5_0, simple.encode_q5_0),
    TensorType("q5_1", 7, 9, 32, simple.Q5_1, simple.decode_q5_1, simple.encode_q5_1),
    Q8_0,
    TensorType("q1_0", 41, 40, 128, simple.Q1_0, simple.decode_q1_0),
    TensorType("q2_0", 42, 41, 64, simple.Q2_0, simple.decode_q2_0),
    TensorType("q2_k", 10, 10, 256, k_quants.Q2_K, k_quants.decode_q2_k),
    TensorType("q3_k", 11, 11, 256, k_quants.Q3_K, k_quants.decode_q3_k),
    TensorType("q4_k", 12, 14, 256, k_quants.Q4_K, k_quants.decode_q4_k, k_search.encode_q4_k),
    TensorType("q5_k", 13, 16, 256, k_quants.Q5_K, k_quants.decode_q5_k, k_search.encode_q5_k),
    TensorType("q6_k", 14, 18, 256, k_quants.Q6_K, k_quants.decode_q6_k, k_search.encode_q6_k),
    TensorType("iq1_s", 19, 24, 256, i_quants.IQ1_S, i_quants.decode_iq1_s),
    TensorType("iq1_m", 29, 31, 256, i_quants.IQ1_M, i_quants.decode_iq1_m),
    TensorType("iq2_xxs", 16, 19, 256, i_quants.IQ2_XXS, i_quants.decode_iq2_xxs),
    TensorType("iq2_xs", 17, 20, 256, i_quants.IQ2_XS, i_quants.decode_iq2_xs),
    TensorType("iq2_s", 22, 28, 256, i_quants.IQ2_S, i_quants.decode_iq2_s),
    TensorType("iq3_xxs", 18, 23, 256, i_quants.IQ3_XXS, i_quants.decode_iq3_xxs),
    TensorType("iq3_s", 21, 26, 256, i_quants.IQ3_S, i_quants.decode_iq3_s),
    TensorType("iq4_nl", 20, 25, 32, i_quants.IQ4_NL, i_quants.decode_iq4_nl),
    TensorType("iq4_xs", 23, 30, 256, i_quants.IQ4_XS, i_quants.decode_iq4_xs),
    TensorType("tq1_0", 34, 36, 256, ternary.TQ1_0, ternary.decode_tq1_0, ternary.encode_tq1_0),
    TensorType("tq2_0", 35, 37, 256, ternary.TQ2_0, ternary.decode_tq2_0, ternary.encode_tq2_0),
    TensorType("mxfp4", 39, 38, 32, micro_scaled.MXFP4, micro_scaled.decode_mxfp4, micro_scaled.encode_mxfp4),
    TensorType("nvfp4", 40, 39, 64, micro_scaled.NVFP4, micro_scaled.decode_nvfp4),
)
"""Missing are Q8_1 and Q8_K, which ggml computes with and no file holds. Of Q2_K … Q5_K, file_type is the plain mix."""

TYPES = {kind.name: kind for kind in ALL}
BY_NUMBER = {kind.number: kind for kind in ALL}


def encode(tensor: torch.Tensor, kind: TensorType) -> np.ndarray:
    """Bytes of a tensor of any float dtype and shape, row by row.

    Raises ValueError when rows don't fill blocks and for types that are only read.
    """
    if kind.encode is None:
        written = ", ".join(name for name, other in TYPES.items() if other.encode)
        raise ValueError(f"{kind.name} is only read here; written are {written}.")
    data = np.empty(kind.num_bytes(tuple(tensor.shape)), np.uint8)
    blocks = data.view(kind.layout)
    x = tensor.detach().to("cpu", torch.float32).reshape(-1, kind.block).numpy()
    with np.errstate(all="ignore"):
        for part in _parts(len(blocks), kind):
            kind.encode(x[part], blocks[part])
    return data


def decode(
    data: np.ndarray, shape: tuple[int, ...], kind: TensorType, dtype: torch.dtype = torch.float32
) -> torch.Tensor:
    """Tensor of `shape` from its bytes, as float32 or rounded to another float dtype.

    Raises ValueError when rows don't fill blocks and for bytes of another number.
    """
    return decode_into(data, kind, torch.empty(shape, dtype=dtype))


def decode_into(data: np.ndarray, kind: TensorType, out: torch.Tensor) -> torch.Tensor:
    """`decode` into a contiguous tensor that exists, and return it. Little memory is used besides.

    data: uint8 of any shape, also a read-only view of a mapped file.
    """
    assert out.is_contiguous() and out.device.type == "cpu", "numbers are written where the tensor lies"
    expected = kind.num_bytes(tuple(out.shape))
    if data.nbytes != expected:
        raise ValueError(f"{tuple(out.shape)} of {kind.name} takes {expected:,} bytes, not {data.nbytes:,}.")
    blocks = np.ascontiguousarray(data).reshape(-1).view(np.uint8).view(kind.layout)
    rows = out.detach().view(-1, kind.block)
    parts = _parts(len(blocks), kind)
    with np.errstate(all="ignore"):
        if out.dtype == torch.float32:
            for part in parts:
                kind.decode(blocks[part], rows.numpy()[part])
            return out
        scratch = torch.empty_like(rows[parts[0]] if parts else rows, dtype=torch.float32)
        for part in parts:
            rounded = rows[part]
            exact = scratch[: len(rounded)]
            kind.decode(blocks[part], exact.numpy())
            for target, source in zip(rounded.view(-1).split(COPIED_AT_ONCE), exact.view(-1).split(COPIED_AT_ONCE)):
                target.copy_(source)
    return out


def _parts(num_blocks: int, kind: TensorType) -> list[slice]:
    size = AT_ONCE // kind.block
    return [slice(start, min(start + size, num_blocks)) for start in range(0, num_blocks, size)]
