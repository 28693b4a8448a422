"""One dial sizes the model; each number can be set by itself; what can't fit together is refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hanlin.core.model.families import bert, qwen3, t5
from hanlin.core.model.pretrained import empty_model
from hanlin.core.run.errors import HanlinError
from hanlin.core.text.tokenizer import Tokenizer
from hanlin.make.pretrain.config import Model
from hanlin.make.pretrain.size import HEAD_WIDTH, decoder_config, encoder_config, encoder_decoder_config


@given(st.integers(1, 64))
def test_depth_decides_everything(depth: int) -> None:
    config = decoder_config(Model(depth=depth), 8192)
    assert (config["num_hidden_layers"], config["hidden_size"], config["intermediate_size"]) == (
        depth,
        64 * depth,
        192 * depth,
    )
    assert (
        config["num_attention_heads"] * HEAD_WIDTH == config["hidden_size"]
        and config["num_attention_heads"] % config["num_key_value_heads"] == 0
    )
    assert config["vocab_size"] == 8192 and config["tie_word_embeddings"]


def test_the_demos_size() -> None:
    config = decoder_config(Model(depth=4), 8192)
    assert (config["num_attention_heads"], config["num_key_value_heads"], config["max_position_embeddings"]) == (
        4,
        2,
        256,
    )
    attention = 2 * 256 * 256 + 2 * 256 * 128 + 2 * 64
    block = attention + 3 * 256 * 768 + 2 * 256
    assert empty_model(qwen3, config).num_parameters() == 8192 * 256 + 4 * block + 256


def test_numbers_set_by_themselves() -> None:
    config = decoder_config(Model(depth=3, width=256, kv_heads=1, hidden=320, context=32, rope_theta=500.0), 400)
    found = (
        config["num_hidden_layers"],
        config["hidden_size"],
        config["num_attention_heads"],
        config["num_key_value_heads"],
        config["intermediate_size"],
    )
    assert found == (3, 256, 4, 1, 320)
    assert (config["max_position_embeddings"], config["rope_theta"]) == (32, 500.0)


@given(st.integers(1, 8), st.integers(1, 12))
def test_key_value_heads_divide_the_heads_or_are_refused(depth: int, kv_heads: int) -> None:
    if depth % kv_heads:
        with pytest.raises(HanlinError, match=f"{kv_heads} key/value heads"):
            decoder_config(Model(depth=depth, kv_heads=kv_heads), 400)
    else:
        assert decoder_config(Model(depth=depth, kv_heads=kv_heads), 400)["num_key_value_heads"] == kv_heads


@given(st.integers(1, 12), st.sampled_from([None, 256]))
def test_the_same_dial_sizes_encoders_and_encoder_decoders(
    tiny_tokenizer: Tokenizer, depth: int, hidden: int | None
) -> None:
    model = Model(depth=depth, hidden=hidden, context=40)
    width, pad_id = 64 * depth, tiny_tokenizer.pad_id
    one = encoder_config(model, tiny_tokenizer)
    encoder = empty_model(bert, one)
    assert (len(encoder.layers), encoder.width, encoder.vocab_size, encoder.max_positions) == (depth, width, 500, 40)
    assert (one["num_attention_heads"], one["intermediate_size"], one["pad_token_id"]) == (
        depth,
        hidden or 4 * width,
        pad_id,
    )
    two = encoder_decoder_config(model, tiny_tokenizer)
    both = empty_model(t5, two)
    assert (len(both.encoder.layers), len(both.decoder.layers), both.width, both.max_positions) == (
        depth,
        depth,
        width,
        40,
    )
    assert (two["num_heads"], two["d_ff"]) == (depth, hidden or 3 * width)
    assert two["decoder_start_token_id"] == two["pad_token_id"] == pad_id and not both.tied


@pytest.mark.parametrize("options", [{"kv_heads": 1}, {"rope_theta": 5.0}])
def test_a_decoder_s_options_are_refused_elsewhere(tiny_tokenizer: Tokenizer, options: dict[str, float]) -> None:
    for config in (encoder_config, encoder_decoder_config):
        with pytest.raises(HanlinError, match=rf"model\.{next(iter(options))} is for a decoder"):
            config(Model.model_validate(options), tiny_tokenizer)
