"""Reading GGUF, the file of llama.cpp and Ollama. The file is untrusted: every length is checked before it is used.

Versions 2 and 3, little endian, https://github.com/ggml-org/ggml/blob/master/docs/gguf.md. Numbers stay on disk
(mmap) until a tensor is asked for.
"""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from hanlin.core.model.ggml import BY_NUMBER, TensorType, decode
from hanlin.core.model.gguf.container import ALIGNMENT, ARRAY, BOOL, MAGIC, STRING
from hanlin.core.run.errors import HanlinError

VERSIONS = (2, 3)
MAX_DIMENSIONS, MAX_SIZE = 4, 2**40
MAX_NAME_BYTES, MAX_KEY_BYTES = 1024, 65_535
MAX_ALIGNMENT = 1 << 20
MAX_ENTRIES = 1 << 22
"""Of metadata, of tensors, and of one array: the largest vocabularies have 262,144 tokens and twice as many merges."""
NUMPY_OF = {
    0: "<u1", 1: "<i1", 2: "<u2", 3: "<i2", 4: "<u4", 5: "<i4", 6: "<f4", 7: "?", 10: "<u8", 11: "<i8", 12: "<f8",
}  # fmt: skip
"""GGUF's types of metadata that are plain numbers; 8 is a string, 9 an array."""

SMALLEST = {STRING: 8, ARRAY: 12}
"""Bytes the shortest value of a type takes, so that a count can be checked against what is left of the file."""


class Damaged(ValueError):
    """What is wrong with the file, in words."""


@dataclass(frozen=True)
class StoredTensor:
    """Where a tensor's bytes lie. shape: as in PyTorch, slowest dimension first."""

    name: str
    shape: tuple[int, ...]
    kind: TensorType
    offset: int

    @property
    def num_bytes(self) -> int:
        return self.kind.num_bytes(self.shape)


class GgufFile:
    """metadata: key → number, text, bool or list. tensors: name → where it lies."""

    def __init__(self, path: Path, data: np.ndarray, metadata: dict[str, Any], tensors: dict[str, StoredTensor]):
        self.path, self.metadata, self.tensors = path, metadata, tensors
        self._data = data

    def raw(self, name: str) -> np.ndarray:
        """The tensor's bytes as they lie in the file, (n,) uint8, without a copy."""
        stored = self.tensors[name]
        return self._data[stored.offset : stored.offset + stored.num_bytes]

    def tensor(self, name: str, dtype: torch.dtype = torch.float32) -> torch.Tensor:
        """Tensor of the stored shape; the numbers are float32's, rounded to `dtype`."""
        stored = self.tensors[name]
        return decode(self.raw(name), stored.shape, stored.kind, dtype)


def open_gguf(path: Path) -> GgufFile:
    """Read the head of a file. Raises HanlinError when it is cut, damaged, or of a version or type not known here."""
    try:
        data = np.memmap(path, dtype=np.uint8, mode="r") if path.stat().st_size else np.empty(0, np.uint8)
    except OSError as error:
        raise HanlinError(
            f"{path} can't be opened ({error.strerror or error}).", "a .gguf file", "check the path", "docs/models.md"
        ) from None
    try:
        metadata, tensors = _read(data.data)
    except Damaged as error:
        raise HanlinError(
            f"{path} is not a readable GGUF file: {error}.",
            "a whole GGUF file of version 2 or 3, little endian",
            "get the file again from where it came",
            "docs/models.md",
        ) from None
    return GgufFile(path, data, metadata, tensors)


LENGTH = struct.Struct("<Q")


class _Cursor:
    """A place in the file. Every step forward is checked first."""

    def __init__(self, data: memoryview):
        self.data, self.at = data, 0

    @property
    def left(self) -> int:
        return len(self.data) - self.at

    def take(self, count: int, what: str) -> memoryview:
        if count > self.left:
            raise Damaged(f"{what} needs {count:,} bytes at byte {self.at:,}, and {self.left:,} are left")
        piece = self.data[self.at : self.at + count]
        self.at += count
        return piece

    def number(self, form: str, what: str) -> Any:
        return struct.unpack(form, self.take(struct.calcsize(form), what))[0]

    def text(self, most: int, what: str) -> str:
        length = self.number("<Q", f"the length of {what}")
        if length > most:
            raise Damaged(f"{what} is {length:,} bytes long (at most {most:,})")
        return bytes(self.take(length, what)).decode("utf-8", errors="replace")

    def texts(self, count: int, what: str) -> list[str]:
        """Many texts in a row: a vocabulary has hundreds of thousands."""
        data, end, found = self.data, len(self.data), []
        for _ in range(count):
            last = self.at + 8
            if last <= end:
                last += LENGTH.unpack_from(data, self.at)[0]
            if last > end:
                self.text(self.left, what)  # says what is missing
            found.append(str(data[self.at + 8 : last], "utf-8", "replace"))
            self.at = last
        return found

    def count(self, smallest: int, what: str) -> int:
        """A number of things that follow, each at least `smallest` bytes."""
        found = self.number("<Q", f"the number of {what}")
        if found > MAX_ENTRIES or found * smallest > self.left:
            raise Damaged(f"{found:,} {what} can't fit into the {self.left:,} bytes left")
        return found


def _read(data: memoryview) -> tuple[dict[str, Any], dict[str, StoredTensor]]:
    cursor = _Cursor(data)
    if bytes(cursor.take(4, "the mark GGUF")) != MAGIC:
        raise Damaged("it does not begin with GGUF")
    version = cursor.number("<I", "the version")
    if version not in VERSIONS:
        big_endian = int.from_bytes(version.to_bytes(4, "little"), "big") in VERSIONS
        raise Damaged("it is big endian" if big_endian else f"version {version}")
    num_tensors = cursor.count(24, "tensors")
    metadata: dict[str, Any] = {}
    for _ in range(cursor.count(13, "metadata entries")):
        key = cursor.text(MAX_KEY_BYTES, "a key")
        if key in metadata:
            raise Damaged(f"the key {key} stands twice")
        metadata[key] = _value(cursor, cursor.number("<I", f"the type of {key}"), key)
    alignment = metadata.get("general.alignment", ALIGNMENT)
    if type(alignment) is not int or not 0 < alignment <= MAX_ALIGNMENT or alignment & (alignment - 1):
        raise Damaged(f"general.alignment is {alignment!r}")
    heads = [_tensor_head(cursor) for _ in range(num_tensors)]
    start = -(-cursor.at // alignment) * alignment
    return metadata, _placed(heads, start, alignment, len(data))


def _value(cursor: _Cursor, kind: int, key: str) -> Any:
    if kind == STRING:
        return cursor.text(cursor.left, key)
    if kind == ARRAY:
        return _array(cursor, key)
    if kind not in NUMPY_OF:
        raise Damaged(f"{key} has the unknown type {kind}")
    found = np.frombuffer(cursor.take(np.dtype(NUMPY_OF[kind]).itemsize, key), NUMPY_OF[kind] if kind != BOOL else "u1")
    return bool(found[0]) if kind == BOOL else found[0].item()


def _array(cursor: _Cursor, key: str) -> list[Any]:
    kind = cursor.number("<I", f"the type of {key}")
    if kind == ARRAY:
        raise Damaged(f"{key} is an array of arrays")
    if kind == STRING:
        return cursor.texts(cursor.count(SMALLEST[STRING], f"entries of {key}"), key)
    if kind not in NUMPY_OF:
        raise Damaged(f"{key} is an array of the unknown type {kind}")
    width = np.dtype(NUMPY_OF[kind]).itemsize
    piece = cursor.take(cursor.count(width, f"entries of {key}") * width, key)
    found = np.frombuffer(piece, "u1" if kind == BOOL else NUMPY_OF[kind])
    return [bool(x) for x in found] if kind == BOOL else found.tolist()


def _tensor_head(cursor: _Cursor) -> tuple[str, tuple[int, ...], TensorType, int]:
    name = cursor.text(MAX_NAME_BYTES, "a tensor's name")
    num_dimensions = cursor.number("<I", f"the dimensions of {name}")
    if num_dimensions > MAX_DIMENSIONS:
        raise Damaged(f"{name} has {num_dimensions} dimensions (at most {MAX_DIMENSIONS})")
    shape = tuple(cursor.number("<Q", f"a dimension of {name}") for _ in range(num_dimensions))[::-1]
    if not all(0 < size <= MAX_SIZE for size in shape):
        raise Damaged(f"{name} has the shape {shape}")
    number = cursor.number("<I", f"the type of {name}")
    offset = cursor.number("<Q", f"the place of {name}")
    kind = BY_NUMBER.get(number)
    if kind is None:
        raise Damaged(f"{name} has the unknown tensor type {number}")
    return name, shape, kind, offset


def _placed(
    heads: list[tuple[str, tuple[int, ...], TensorType, int]], start: int, alignment: int, length: int
) -> dict[str, StoredTensor]:
    tensors: dict[str, StoredTensor] = {}
    for name, shape, kind, offset in heads:
        if name in tensors:
            raise Damaged(f"the tensor {name} stands twice")
        if shape and shape[-1] % kind.block:
            raise Damaged(f"{name}: rows of {shape[-1]} are no whole blocks of {kind.block} ({kind.name})")
        size = math.prod(shape) // kind.block * kind.block_bytes
        if offset % alignment or start + offset + size > length:
            raise Damaged(f"{name} lies at {offset:,} with {size:,} bytes, outside the file or not aligned")
        tensors[name] = StoredTensor(name, shape, kind, start + offset)
    return tensors
