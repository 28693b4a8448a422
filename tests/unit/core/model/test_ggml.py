"""Number formats of GGUF files, by hand."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from hanlin.core.model.ggml import F16, F32, Q8_0, decode, decode_q8_0, encode, encode_q8_0, round_half_away, type_for


def test_one_block_by_hand() -> None:
    x = np.zeros(32, np.float32)
    x[:4] = [127.0, 0.5, -0.5, -1.49]  # d = 127 / 127 = 1
    data = encode_q8_0(x)
    assert data[:2].view("<f2")[0] == 1
    assert data[2:6].view(np.int8).tolist() == [127, 1, -1, -1]
    assert decode_q8_0(data)[:4].tolist() == [127, 1, -1, -1]


def test_halves_go_away_from_zero() -> None:
    assert round_half_away(np.array([0.5, 1.5, 2.5, -0.5, -2.5, 0.49])).tolist() == [1, 2, 3, -1, -3, 0]


@given(arrays(np.float32, 64, elements=st.floats(-8, 8, width=32).filter(lambda x: x == 0 or abs(x) > 1e-3)))
def test_q8_0_error_is_at_most_half_a_step(x: np.ndarray) -> None:
    """And what d loses as F16: 127 codes times its relative error of 2⁻¹¹."""
    step = np.abs(x.reshape(-1, 32)).max(axis=1).repeat(32) / 127
    assert np.all(np.abs(decode_q8_0(encode_q8_0(x)) - x) <= step * (0.5 + 127 * 2**-11 + 1e-3))


def test_zeros_and_the_smallest_numbers_become_zero() -> None:
    for value in (0.0, 1e-45, 1e-40, 1e-38):
        assert not decode_q8_0(encode_q8_0(np.full(32, value, np.float32))).any()


def test_norms_stay_f32_and_odd_rows_f16() -> None:
    assert type_for((64,), Q8_0) is F32
    assert type_for((8, 64), Q8_0) is Q8_0
    assert type_for((64, 40), Q8_0) is F16


def test_every_stored_dtype_is_read() -> None:
    for dtype in (torch.float32, torch.bfloat16, torch.float16):
        x = torch.randn(4, 64).to(dtype)
        for kind in (F32, F16, Q8_0):
            data = encode(x, kind)
            assert data.nbytes == kind.num_bytes((4, 64))
            assert torch.allclose(decode(data, (4, 64), kind), x.float(), atol=0.03)
