"""Every tensor type is read and written as the gguf package does, bit by bit, and as ggml itself (by xllamacpp)."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from pathlib import Path

import gguf
import numpy as np
import pytest
import torch
from gguf import GGMLQuantizationType, LlamaFileType, quants
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from hanlin.core.model.ggml import TYPES, TensorType, decode, encode
from hanlin.core.model.ggml.grids import even_signs, grid

NOT_IN_GGUF = {"f64", "i8", "i16", "i32", "i64", "q1_0", "q2_0"}
"""Types the package can't turn into numbers."""

READ = [kind for kind in TYPES.values() if kind.name not in NOT_IN_GGUF]
K_SEARCHED = ("q4_k", "q5_k", "q6_k")
WRITTEN = [kind for kind in READ if kind.encode and kind.name not in K_SEARCHED]
IN_C = [kind for kind in TYPES.values() if kind.name not in NOT_IN_GGUF - {"q1_0", "q2_0"} | {"f32", "f16", "bf16"}]

HALVES = np.array([0, -0.0, 1, -3.3, 2**-24, 1023 * 2**-24, 2**-14, 65_504, -65_504, np.inf, -np.inf], np.float16)
SCALES = np.concatenate([HALVES, np.array([0x7E00, 0x7C01, 0xFE77], np.uint16).view(np.float16)])
"""Both zeros, ordinary, smallest and greatest subnormal, smallest normal, greatest, infinities, three that are NaN."""


def name_of(kind: TensorType) -> str:
    return kind.name


def theirs(data: np.ndarray, kind: TensorType) -> np.ndarray:
    with np.errstate(all="ignore"):
        return quants.dequantize(data.reshape(1, -1), GGMLQuantizationType(kind.number)).reshape(-1)


def ours(data: np.ndarray, kind: TensorType) -> np.ndarray:
    return decode(data, (len(data) // kind.block_bytes * kind.block,), kind).numpy()


def same_bits(a: np.ndarray, b: np.ndarray) -> bool:
    """Which NaN it is does not count, a zero's sign does."""
    return bool(np.all((a.view(np.uint32) == b.view(np.uint32)) | (np.isnan(a) & np.isnan(b))))


def with_scales(kind: TensorType, seed: int, scales: np.ndarray) -> np.ndarray:
    """Bytes of random blocks, a block for each pair of float16 scales."""
    first, second = (part.reshape(-1) for part in np.meshgrid(scales, scales))
    random = np.random.default_rng(seed)
    blocks = random.integers(0, 256, len(first) * kind.block_bytes, dtype=np.uint8).view(kind.layout)
    for field, values in (("d", first), ("m", second)):
        if field in (kind.layout.names or ()) and kind.layout[field] == np.float16:
            blocks[field] = values
    if kind.name == "iq1_m":  # four bits of d in each word
        parts = first.view(np.uint16)[:, None] >> np.arange(0, 16, 4, dtype=np.uint16) & np.uint16(15)
        blocks["scales"] = blocks["scales"] & 0x0FFF | parts << 12
    return blocks.view(np.uint8)


def test_numbers_and_sizes_are_theirs() -> None:
    for kind in TYPES.values():
        if kind.name != "q2_0":  # newer than the package
            number = GGMLQuantizationType[kind.name.upper()]
            assert (kind.number, (kind.block, kind.block_bytes)) == (number, gguf.GGML_QUANT_SIZES[number]), kind.name
    known = {number.name.lower() for number in GGMLQuantizationType}
    assert known - TYPES.keys() == {"q8_1", "q8_k"}


def test_file_types_are_theirs() -> None:
    names = {"f32": "ALL_F32", "q3_k": "MOSTLY_Q3_K_S", "q4_k": "MOSTLY_Q4_K_S", "q5_k": "MOSTLY_Q5_K_S"}
    names |= {"mxfp4": "MOSTLY_MXFP4_MOE"}
    for kind in TYPES.values():
        if kind.file_type is not None and kind.name != "q2_0":
            assert kind.file_type == LlamaFileType[names.get(kind.name, f"MOSTLY_{kind.name.upper()}")], kind.name


@pytest.mark.parametrize("name", ["iq1_s", "iq2_xxs", "iq2_xs", "iq2_s", "iq3_xxs", "iq3_s"])
def test_grids_are_theirs(name: str) -> None:
    kind = getattr(quants, name.upper())
    kind.init_grid()
    assert np.array_equal(grid(name), kind.grid.reshape(kind.grid_shape))


def test_even_signs_are_theirs() -> None:
    bits = np.unpackbits(np.frombuffer(quants.IQ2_XXS.ksigns, np.uint8)[:, None], axis=1, bitorder="little")
    assert np.array_equal(even_signs() < 0, bits == 1)


@pytest.mark.parametrize("kind", READ, ids=name_of)
@settings(max_examples=25, deadline=None)
@given(st.data())
def test_any_bytes_are_the_same_numbers(kind: TensorType, data: st.DataObject) -> None:
    drawn = data.draw(st.binary(min_size=2 * kind.block_bytes, max_size=2 * kind.block_bytes))
    stored = np.frombuffer(drawn, np.uint8)
    assert same_bits(ours(stored, kind), theirs(stored, kind))


@pytest.mark.parametrize("kind", READ, ids=name_of)
def test_any_scale_gives_the_same_numbers(kind: TensorType) -> None:
    for seed in range(3):
        stored = with_scales(kind, seed, SCALES)
        assert same_bits(ours(stored, kind), theirs(stored, kind))


@pytest.mark.parametrize("kind", [TYPES["f16"], TYPES["bf16"]], ids=name_of)
def test_all_halves_are_the_same_numbers(kind: TensorType) -> None:
    stored = np.arange(2**16, dtype=np.uint16).view(np.uint8)
    assert same_bits(ours(stored, kind), theirs(stored, kind))


@pytest.mark.parametrize("name", ["mxfp4", "nvfp4"])
def test_all_small_scales_are_the_same_numbers(name: str) -> None:
    kind = TYPES[name]
    blocks = np.random.default_rng(0).integers(0, 256, 1024 * kind.block_bytes, dtype=np.uint8).view(kind.layout)
    blocks["d"] = np.resize(np.arange(256), blocks["d"].shape)
    assert same_bits(ours(blocks.view(np.uint8), kind), theirs(blocks.view(np.uint8), kind))


NUMBERS = st.floats(-(2.0**126), 2.0**126, width=32).filter(lambda x: x == 0 or abs(x) > 1e-30)
"""Without numbers whose scale has no finite inverse: what ggml then stores depends on the processor."""

ROWS = st.one_of(
    arrays(np.float32, 256, elements=NUMBERS),
    arrays(np.float32, 256, elements=st.floats(-4, 4, width=32).filter(lambda x: x == 0 or abs(x) > 1e-3)),
    arrays(np.float32, 256, elements=st.integers(-8, 8).map(float)),  # many halves between two codes
    NUMBERS.map(lambda x: np.full(256, x, np.float32)),
    st.tuples(st.integers(0, 2**32 - 1), st.integers(-28, 30)).map(
        lambda drawn: np.random.default_rng(drawn[0]).standard_normal(256, np.float32) * np.float32(10.0 ** drawn[1])
    ),
)


@pytest.mark.parametrize("kind", WRITTEN, ids=name_of)
@settings(max_examples=40, deadline=None)
@given(ROWS)
def test_rows_become_the_same_bytes(kind: TensorType, x: np.ndarray) -> None:
    with np.errstate(all="ignore"):
        expected = quants.quantize(x[None], GGMLQuantizationType(kind.number))
    assert encode(torch.from_numpy(x), kind).tobytes() == expected.tobytes()


@pytest.mark.parametrize("kind", WRITTEN, ids=name_of)
def test_halves_between_two_codes_go_the_same_way(kind: TensorType) -> None:
    """Rows whose scale is 1 in one format or the other, both ways round."""
    steps = np.arange(32, dtype=np.float32)
    rows = [np.append(steps[:31] + 0.5, 127), steps / 2 - 8, steps - 16.0, np.append(steps[:31] / 2, 0), steps - 0.5]
    x = np.stack([sign * np.tile(row, 8).astype(np.float32) for row in rows for sign in (1, -1)])
    expected = quants.quantize(x, GGMLQuantizationType(kind.number))
    assert encode(torch.from_numpy(x), kind).tobytes() == expected.tobytes()


@pytest.mark.parametrize("name", ["f32", "f16", "bf16"])
@given(arrays(np.uint32, 64, elements=st.integers(0, 2**32 - 1)))
def test_any_float_becomes_the_same_bytes(name: str, bits: np.ndarray) -> None:
    with np.errstate(all="ignore"):
        expected = quants.quantize(bits.view(np.float32)[None], GGMLQuantizationType(TYPES[name].number))
    assert encode(torch.from_numpy(bits.view(np.float32)), TYPES[name]).tobytes() == expected.tobytes()


@pytest.fixture(scope="module")
def ggml_function() -> Callable[[str, np.ndarray, np.ndarray, int], None]:
    """Name, input, output, numbers → ggml's own function has filled the output."""
    package = pytest.importorskip("xllamacpp")
    libraries = list(Path(package.__file__).parent.glob("*.so"))
    library = ctypes.CDLL(str(libraries[0])) if libraries else None
    if not hasattr(library, "dequantize_row_q4_K"):
        pytest.skip("this build of xllamacpp hides ggml's functions")

    def call(name: str, source: np.ndarray, target: np.ndarray, numbers: int) -> None:
        name = name[:-1] + "K" if name.endswith("_k") else name.replace("_k_", "_K_")
        function = getattr(library, name)
        function.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64]
        function(source.ctypes.data, target.ctypes.data, numbers)

    return call


@pytest.mark.parametrize("kind", IN_C, ids=name_of)
def test_ggml_reads_the_same_numbers(kind: TensorType, ggml_function: Callable[..., None]) -> None:
    stored = with_scales(kind, 0, SCALES)
    expected = np.empty(len(stored) // kind.block_bytes * kind.block, np.float32)
    ggml_function(f"dequantize_row_{kind.name}", stored, expected, expected.size)
    assert same_bits(ours(stored, kind), expected)


@pytest.mark.parametrize("name", K_SEARCHED)
def test_the_search_is_as_good_as_ggml_s(name: str, ggml_function: Callable[..., None]) -> None:
    """Most blocks are the same bytes, the others differ in float32's rounding. The error is much the same."""
    kind, random = TYPES[name], np.random.default_rng(0)
    for x in (random.standard_normal(2**16), random.standard_t(4, 2**16), random.random(2**16)):
        x = x.astype(np.float32)
        data = encode(torch.from_numpy(x), kind)
        expected = np.empty_like(data)
        ggml_function(f"quantize_row_{name}_ref", x, expected, x.size)
        same = (data == expected).reshape(-1, kind.block_bytes).all(axis=1).mean()
        losses = [np.sqrt(np.square(ours(stored, kind) - x).mean()) for stored in (data, expected)]
        assert losses[0] < 1.001 * losses[1] and same > 0.4
