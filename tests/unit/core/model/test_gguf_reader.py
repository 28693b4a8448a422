"""Reading GGUF: what the writer writes comes back, and no damaged file does more than say so."""

from __future__ import annotations

import random
import struct
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hanlin.core.model.ggml import F16, F32, Q8_0, TensorType, encode
from hanlin.core.model.gguf.container import Entry, write
from hanlin.core.model.gguf.reader import open_gguf
from hanlin.core.run.errors import HanlinError

METADATA: dict[str, Any] = {
    "general.architecture": "toy",
    "toy.block_count": 2,
    "toy.negative": -3,
    "toy.large": 2**40,
    "toy.share": 0.25,
    "toy.on": True,
    "toy.name": "臺灣 🧋",
    "toy.tokens": ["甲", "", "乙丙"],
    "toy.types": [1, 3, -2],
    "toy.scores": [0.5, -1.5],
}


def entry(name: str, tensor: torch.Tensor, kind: TensorType) -> Entry:
    return Entry(name, tuple(tensor.shape), kind, lambda: encode(tensor, kind))


@pytest.fixture(scope="module")
def tensors() -> dict[str, tuple[torch.Tensor, TensorType]]:
    torch.manual_seed(0)
    return {
        "a.weight": (torch.randn(3, 64), Q8_0),
        "b.weight": (torch.randn(2, 5), F16),
        "c.weight": (torch.randn(7), F32),
        "d.weight": (torch.randn(2, 3, 32), F32),
    }


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory, tensors: dict[str, tuple[torch.Tensor, TensorType]]) -> Path:
    file = tmp_path_factory.mktemp("gguf") / "toy.gguf"
    write(file, METADATA, [entry(name, tensor, kind) for name, (tensor, kind) in tensors.items()])
    return file


def test_what_is_written_comes_back(path: Path, tensors: dict[str, tuple[torch.Tensor, TensorType]]) -> None:
    file = open_gguf(path)
    assert file.metadata == METADATA
    for name, (tensor, kind) in tensors.items():
        found = file.tensor(name)
        assert found.shape == tensor.shape and file.tensors[name].kind is kind
        if kind is F32:
            assert torch.equal(found, tensor)
        else:
            torch.testing.assert_close(found, tensor, atol=0.02, rtol=0.02)


@given(
    st.dictionaries(
        st.text(st.characters(codec="utf-8"), max_size=12),
        st.booleans()
        | st.integers(-(2**31), 2**63)
        | st.text(st.characters(codec="utf-8"), max_size=20)
        | st.floats(width=32, allow_nan=False)
        | st.lists(st.text(st.characters(codec="utf-8"), max_size=8), max_size=5),
        max_size=6,
    )
)
@settings(max_examples=40)
def test_any_metadata_comes_back(tmp_path_factory: pytest.TempPathFactory, metadata: dict[str, Any]) -> None:
    file = tmp_path_factory.mktemp("gguf") / "x.gguf"
    metadata.pop("general.alignment", None)
    write(file, metadata, [])
    assert open_gguf(file).metadata == metadata


def refused(data: bytes, folder: Path) -> str:
    file = folder / "damaged.gguf"
    file.write_bytes(data)
    with pytest.raises(HanlinError) as caught:
        open_gguf(file)
    assert len(str(caught.value).splitlines()) == 4
    return str(caught.value)


def test_a_file_cut_anywhere_in_its_head_is_refused(path: Path, tmp_path: Path) -> None:
    data = path.read_bytes()
    for length in (0, 3, 4, 7, 8, 15, 23, 24, 30, 60, 100, len(data) - 400):
        refused(data[:length], tmp_path)
    assert "outside the file" in refused(data[:-64], tmp_path)


@pytest.mark.parametrize(
    ("head", "said"),
    [
        (b"GGML" + struct.pack("<IQQ", 3, 0, 0), "does not begin with GGUF"),
        (b"GGUF" + struct.pack("<IQQ", 1, 0, 0), "version 1"),
        (b"GGUF" + struct.pack(">IQQ", 3, 0, 0), "big endian"),
        (b"GGUF" + struct.pack("<IQQ", 3, 2**63, 0), "tensors can't fit"),
        (b"GGUF" + struct.pack("<IQQ", 3, 0, 2**63), "metadata entries can't fit"),
        (b"GGUF" + struct.pack("<IQQQ", 3, 0, 1, 2**62) + bytes(99), "a key is"),
        (b"GGUF" + struct.pack("<IQQQ", 3, 0, 1, 1) + b"k" + struct.pack("<I", 77) + bytes(9), "unknown type 77"),
        (b"GGUF" + struct.pack("<IQQQ", 3, 0, 1, 1) + b"k" + struct.pack("<IIQ", 9, 8, 2**40), "can't fit"),
        (b"GGUF" + struct.pack("<IQQQ", 3, 0, 1, 1) + b"k" + struct.pack("<IIQ", 9, 9, 1) + bytes(9), "of arrays"),
    ],
)
def test_absurd_heads_are_named(head: bytes, said: str, tmp_path: Path) -> None:
    assert said in refused(head, tmp_path)


def test_absurd_tensors_are_named(tmp_path: Path) -> None:
    def file(name: bytes, dimensions: list[int], kind: int, offset: int) -> bytes:
        row = struct.pack("<Q", len(name)) + name + struct.pack("<I", len(dimensions))
        row += struct.pack(f"<{len(dimensions)}Q", *dimensions) + struct.pack("<IQ", kind, offset)
        return b"GGUF" + struct.pack("<IQQ", 3, 1, 0) + row + bytes(64)

    assert "dimensions" in refused(file(b"a", [1] * 5, 0, 0), tmp_path)
    assert "unknown tensor type 999" in refused(file(b"a", [1], 999, 0), tmp_path)
    assert "has the shape" in refused(file(b"a", [2**62, 2**62], 0, 0), tmp_path)
    assert "has the shape" in refused(file(b"a", [4, 0], 0, 0), tmp_path)
    assert "outside the file" in refused(file(b"a", [2**40, 2**40], 0, 0), tmp_path)
    assert "outside the file" in refused(file(b"a", [1], 0, 2**60), tmp_path)
    assert "not aligned" in refused(file(b"a", [1], 0, 5), tmp_path)
    assert "no whole blocks" in refused(file(b"a", [33], 8, 0), tmp_path)


def mutate(data: bytearray, draw: random.Random) -> bytes:
    """Flip, overwrite with telling numbers, cut, repeat or insert: the head, where the lengths are, more often."""
    data = bytearray(data)
    for _ in range(draw.randint(1, 4)):
        at = draw.randrange(min(len(data), 700) if draw.random() < 0.9 else len(data))
        action = draw.random()
        if action < 0.4:
            data[at] ^= 1 << draw.randrange(8)
        elif action < 0.7:
            number = draw.choice([0, 1, 255, 2**31 - 1, 2**32 - 1, 2**48, 2**63, 2**64 - 1])
            data[at : at + 8] = struct.pack("<Q", number)
        elif action < 0.8:
            del data[at : at + draw.randint(1, 40)]
        elif action < 0.9:
            data[at:at] = bytes(draw.randrange(256) for _ in range(draw.randint(1, 40)))
        else:
            del data[at:]
        if not data:
            break
    return bytes(data)


def test_ten_thousand_damaged_files(path: Path, tmp_path: Path) -> None:
    """Each either opens, with tensors that can be read, or is refused in words; none takes memory beyond its size."""
    draw, data, opened = random.Random(0), bytearray(path.read_bytes()), 0
    file = tmp_path / "mutated.gguf"
    peak = 0
    tracemalloc.start()
    for number in range(10_000):
        if number == 1000:  # tracing is slow: the first thousand tell
            peak = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
        file.write_bytes(mutate(data, draw))
        try:
            found = open_gguf(file)
        except HanlinError:
            continue
        with np.errstate(all="ignore"):
            for name in found.tensors:
                found.tensor(name)
        opened += 1
    assert 500 < opened < 9_500, "the mutations are neither all harmless nor all fatal"
    assert peak < 8 * 2**20, peak
