"""Number formats of GGUF files: by hand, at their edges, and what every type must hold to."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from hanlin.core.model.ggml import (
    BF16,
    BY_NUMBER,
    F32,
    Q8_0,
    TYPES,
    TensorType,
    decode,
    decode_into,
    encode,
    types,
)
from hanlin.core.model.ggml.bits import along, pack, unpack
from hanlin.core.model.ggml.simple import round_half_away

every_type = pytest.mark.parametrize("kind", TYPES.values(), ids=list(TYPES))
every_encoder = pytest.mark.parametrize(
    "kind", [kind for kind in TYPES.values() if kind.encode], ids=[name for name, kind in TYPES.items() if kind.encode]
)
HALF_ONE = np.array([1], "<f2").view(np.uint8).tolist()


def round_trip(x: np.ndarray, kind: TensorType) -> np.ndarray:
    return decode(encode(torch.from_numpy(x), kind), x.shape, kind).numpy()


def test_one_block_by_hand() -> None:
    x = torch.zeros(32)
    x[:4] = torch.tensor([127.0, 0.5, -0.5, -1.49])  # d = 127 / 127 = 1
    data = encode(x, Q8_0)
    assert data[:2].view("<f2")[0] == 1
    assert data[2:6].view(np.int8).tolist() == [127, 1, -1, -1]
    assert decode(data, (32,), Q8_0)[:4].tolist() == [127, 1, -1, -1]


def test_four_bits_by_hand() -> None:
    """Number j and number j + 16 share byte j."""
    data = np.array([*HALF_ONE, 0x80, 0xF7, *[0x88] * 14], np.uint8)
    x = decode(data, (32,), TYPES["q4_0"])
    assert x[[0, 16, 1, 17]].tolist() == [-8, 0, -1, 7] and not x[2:16].any()


def test_a_super_block_by_hand() -> None:
    """Q4_K: sub-block 0 has s = 1 and o = 2; sub-block 5 has s = 33 and o = 17, whose upper bits stand elsewhere."""
    scales = np.zeros((3, 4), np.uint8)
    scales[0, 0], scales[1, 0] = 1, 2
    scales[0, 1], scales[1, 1], scales[2, 1] = 2 << 6, 1 << 6, 1 | 1 << 4
    codes = np.zeros((4, 32), np.uint8)
    codes[0, 3], codes[2, 31] = 5, 9 << 4
    data = np.array([*HALF_ONE, *HALF_ONE, *scales.reshape(-1), *codes.reshape(-1)], np.uint8)
    x = decode(data, (256,), TYPES["q4_k"]).view(8, 32)
    assert (x[0, 3], x[0, 4], x[5, 31], x[5, 30]) == (5 - 2, -2, 9 * 33 - 17, -17)
    assert not x[[1, 2, 3, 4, 6, 7]].any()


def test_halves_go_away_from_zero() -> None:
    assert round_half_away(np.array([0.5, 1.5, 2.5, -0.5, -2.5, 0.49])).tolist() == [1, 2, 3, -1, -3, 0]


@given(st.sampled_from([1, 2, 4]), st.binary(min_size=24, max_size=24))
def test_codes_come_out_of_bytes_as_they_went_in(width: int, data: bytes) -> None:
    packed = np.frombuffer(data, np.uint8).reshape(2, 12)
    assert np.array_equal(pack(unpack(packed, width), width), packed)
    assert np.array_equal(along(packed, width).reshape(2, 12, -1), np.moveaxis(unpack(packed, width), 1, 2))


@given(arrays(np.float32, 64, elements=st.floats(-8, 8, width=32).filter(lambda x: x == 0 or abs(x) > 1e-3)))
def test_q8_0_error_is_at_most_half_a_step(x: np.ndarray) -> None:
    """And what d loses as F16: 127 codes times its relative error of 2⁻¹¹."""
    step = np.abs(x.reshape(-1, 32)).max(axis=1).repeat(32) / 127
    assert np.all(np.abs(round_trip(x, Q8_0) - x) <= step * (0.5 + 127 * 2**-11 + 1e-3))


@every_encoder
def test_zeros_and_the_smallest_numbers_become_zero(kind: TensorType) -> None:
    for value in (0.0, -0.0, 1e-45, -1e-40, 1e-38):
        decoded = round_trip(np.full(256, value, np.float32), kind)
        assert np.abs(decoded).max() <= 1.01 * abs(value)  # with float32's exponents the small ones are kept


@every_encoder
def test_a_constant_row_stays_almost_constant(kind: TensorType) -> None:
    for value in (1.0, -1.0, 0.02, -3e-5, 60_000.0):
        decoded = round_trip(np.full((2, 256), value, np.float32), kind)
        tolerance = 2.0**-2 if kind.name == "mxfp4" else 2.0**-6
        assert np.allclose(decoded, value, rtol=tolerance, atol=2.0**-24), value
        assert np.ptp(decoded) == 0


def test_names_and_numbers_are_each_given_once() -> None:
    assert len(TYPES) == len(BY_NUMBER) == len(types.ALL)
    assert all(kind.name == kind.name.lower() for kind in types.ALL)


@every_encoder
def test_every_dtype_is_written(kind: TensorType) -> None:
    for dtype in (torch.float64, torch.float32, torch.bfloat16, torch.float16):
        x = torch.randn(4, 256).to(dtype)
        data = encode(x, kind)
        assert data.dtype == np.uint8 and data.nbytes == kind.num_bytes((4, 256))
        assert torch.equal(decode(data, (4, 256), kind), decode(encode(x.float(), kind), (4, 256), kind))


@every_type
def test_every_dtype_is_read_in_parts_as_in_one(kind: TensorType, monkeypatch: pytest.MonkeyPatch) -> None:
    """A tensor in bfloat16 is the float32 one rounded, and it does not matter where the parts end."""
    shape = (5, 3 * kind.block)
    data = np.random.default_rng(0).integers(0, 256, kind.num_bytes(shape), dtype=np.uint8)
    whole = decode(data, shape, kind)
    monkeypatch.setattr(types, "AT_ONCE", 4 * kind.block)
    monkeypatch.setattr(types, "COPIED_AT_ONCE", 7)
    for dtype in (torch.float32, torch.bfloat16, torch.float16):
        assert torch.equal(decode(data, shape, kind, dtype).nan_to_num(), whole.to(dtype).nan_to_num())
    out = torch.full(shape, 7.0)
    assert decode_into(data, kind, out) is out and torch.equal(out.nan_to_num(), whole.nan_to_num())
    assert decode(data[:0], (0, kind.block), kind, torch.bfloat16).shape == (0, kind.block)


def test_parts_of_an_encoding_are_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    x = torch.randn(5, 512)
    for kind in (TYPES["q4_k"], TYPES["q5_1"], BF16):
        whole = encode(x, kind)
        with monkeypatch.context() as patched:
            patched.setattr(types, "AT_ONCE", 4 * kind.block)
            assert np.array_equal(encode(x, kind), whole)


def test_bytes_of_a_mapped_file_are_read_where_they_lie() -> None:
    """Not aligned, not to be written to, and of several dimensions."""
    memory = np.arange(1 + 6 * 34, dtype=np.uint8)
    data = memory[1:].reshape(2, 102)
    data.flags.writeable = False
    assert torch.equal(decode(data, (2, 96), Q8_0), decode(data.copy(), (2, 96), Q8_0))
    assert torch.equal(decode(memory[1:5], (), F32), torch.from_numpy(memory[1:5].copy().view("<f4"))[0])


def test_whole_numbers_are_read() -> None:
    for name in ("i8", "i16", "i32", "i64", "f64"):
        numbers = np.array([-128, -1, 0, 127], TYPES[name].layout)
        assert decode(numbers.view(np.uint8), (4,), TYPES[name]).tolist() == [-128, -1, 0, 127]


def test_wrong_sizes_are_refused_with_their_numbers() -> None:
    with pytest.raises(ValueError, match=r"\(2, 64\) of q8_0 takes 136 bytes, not 135\."):
        decode(np.zeros(135, np.uint8), (2, 64), Q8_0)
    with pytest.raises(ValueError, match=r"q4_k stores blocks of 256 numbers; rows of 128 don't fill them\."):
        encode(torch.zeros(4, 128), TYPES["q4_k"])
    with pytest.raises(ValueError, match=r"q8_0 stores blocks of 32 numbers; rows of 16 don't fill them\."):
        decode(np.zeros(34, np.uint8), (2, 16), Q8_0)
    with pytest.raises(ValueError, match=r"iq2_xs is only read here; written are f32, f16, .*q6_k"):
        encode(torch.zeros(256), TYPES["iq2_xs"])
    assert Q8_0.num_bytes((2**40, 2**40)) == 2**75 * 34  # a hostile file's shape doesn't wrap around
