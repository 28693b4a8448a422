"""One dial sizes the model; each number can be set by itself; what can't fit together is refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hanlin.core.model.families import qwen3
from hanlin.core.model.pretrained import empty_model
from hanlin.core.run.errors import HanlinError
from hanlin.make.pretrain.config import Model
from hanlin.make.pretrain.size import HEAD_WIDTH, decoder_shape


@given(st.integers(1, 64))
def test_depth_decides_everything(depth: int) -> None:
    shape = decoder_shape(Model(depth=depth), 8192)
    assert (shape.num_layers, shape.width, shape.hidden) == (depth, 64 * depth, 192 * depth)
    assert shape.num_heads * HEAD_WIDTH == shape.width and shape.num_heads % shape.num_kv_heads == 0
    assert shape.vocab_size == 8192 and shape.tied


def test_the_demos_size() -> None:
    shape = decoder_shape(Model(depth=4), 8192)
    assert (shape.num_heads, shape.num_kv_heads, shape.max_positions) == (4, 2, 256)
    attention = 2 * 256 * 256 + 2 * 256 * 128 + 2 * 64
    block = attention + 3 * 256 * 768 + 2 * 256
    assert empty_model(qwen3, shape).num_parameters() == 8192 * 256 + 4 * block + 256


def test_numbers_set_by_themselves() -> None:
    shape = decoder_shape(Model(depth=3, width=256, kv_heads=1, hidden=320, context=32, rope_theta=500.0), 400)
    found = (shape.num_layers, shape.width, shape.num_heads, shape.num_kv_heads, shape.hidden)
    assert found == (3, 256, 4, 1, 320)
    assert (shape.max_positions, shape.rope_theta) == (32, 500.0)


@given(st.integers(1, 8), st.integers(1, 12))
def test_key_value_heads_divide_the_heads_or_are_refused(depth: int, kv_heads: int) -> None:
    if depth % kv_heads:
        with pytest.raises(HanlinError, match=f"{kv_heads} key/value heads"):
            decoder_shape(Model(depth=depth, kv_heads=kv_heads), 400)
    else:
        assert decoder_shape(Model(depth=depth, kv_heads=kv_heads), 400).num_kv_heads == kv_heads
