"""GGUF, the file of llama.cpp and Ollama: header, metadata, tensor table, tensors.

Version 3, little endian, https://github.com/ggml-org/ggml/blob/master/docs/gguf.md.
This file knows the container alone; what a model puts into it stands in export.py.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np

from hanlin.core.model.ggml import TensorType

MAGIC, VERSION, ALIGNMENT = b"GGUF", 3, 32

Value = bool | int | float | str | list[int] | list[float] | list[str]
"""int is written as UINT32 (INT32 when negative, UINT64 when greater), float as FLOAT32, a list as an ARRAY of what its
first item is, where int is INT32."""

UINT32, INT32, FLOAT32, BOOL, STRING, ARRAY, UINT64 = 4, 5, 6, 7, 8, 9, 10
_PACKED = {UINT32: "<I", INT32: "<i", FLOAT32: "<f", BOOL: "<?", UINT64: "<Q"}


@dataclass(frozen=True)
class Entry:
    """A tensor to write. shape: as in PyTorch, slowest dimension first. data: makes the bytes when their turn comes."""

    name: str
    shape: tuple[int, ...]
    kind: TensorType
    data: Callable[[], np.ndarray]


def write(
    path: Path, metadata: Mapping[str, Value], tensors: Sequence[Entry], tick: Callable[[int], None] = lambda done: None
) -> int:
    """Write a GGUF file and return its size in bytes. One tensor is in memory at a time.

    The bytes go to a temporary name, are flushed to disk, then renamed: `path` exists whole or not at all.
    tick: called with the number of tensors written.
    """
    temporary = path.with_name(path.name + ".tmp")
    with temporary.open("wb") as file:
        _write_head(file, metadata, tensors)
        for done, tensor in enumerate(tensors, start=1):
            _pad(file)
            data = tensor.data()
            assert data.nbytes == tensor.kind.num_bytes(tensor.shape), "the table has promised another size"
            file.write(data.data)
            tick(done)
        _pad(file)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)
    return path.stat().st_size


def _write_head(file: BinaryIO, metadata: Mapping[str, Value], tensors: Sequence[Entry]) -> None:
    file.write(MAGIC + struct.pack("<IQQ", VERSION, len(tensors), len(metadata)))
    for key, value in metadata.items():
        file.write(_string(key) + _typed(value))
    offset = 0
    for tensor in tensors:
        dimensions = tensor.shape[::-1]
        file.write(
            _string(tensor.name)
            + struct.pack(f"<I{len(dimensions)}QIQ", len(dimensions), *dimensions, tensor.kind.number, offset)
        )
        offset += _aligned(tensor.kind.num_bytes(tensor.shape))


def _typed(value: Value) -> bytes:
    """A value with its type before it."""
    if isinstance(value, list):
        kind = _kind(value[0]) if value else STRING
        kind = INT32 if kind == UINT32 else kind  # llama.cpp reads token types as int32
        return struct.pack("<IIQ", ARRAY, kind, len(value)) + b"".join(_bare(item, kind) for item in value)
    return struct.pack("<I", _kind(value)) + _bare(value, _kind(value))


def _kind(value: bool | int | float | str) -> int:
    if isinstance(value, bool):
        return BOOL
    if isinstance(value, int):
        return INT32 if value < 0 else UINT32 if value < 2**32 else UINT64
    return FLOAT32 if isinstance(value, float) else STRING


def _bare(value: bool | int | float | str, kind: int) -> bytes:
    return _string(str(value)) if kind == STRING else struct.pack(_PACKED[kind], value)


def _string(text: str) -> bytes:
    data = text.encode()
    return struct.pack("<Q", len(data)) + data


def _aligned(length: int) -> int:
    return -(-length // ALIGNMENT) * ALIGNMENT


def _pad(file: BinaryIO) -> None:
    file.write(bytes(_aligned(file.tell()) - file.tell()))
