"""T5, its 1.1 and mT5. Raffel et al. 2019, https://arxiv.org/abs/1910.10683; Xue et al. 2020,
https://arxiv.org/abs/2010.11934.

Encoder-decoder, pre-norm with RMSNorm, no biases, scores not divided by √D, one table of relative positions for all
layers of a stack. The first T5 has ReLU and a head tied to the embedding, its input scaled by 1/√C; 1.1 and mT5 have
gated GELU and a head of their own.

float16 overflows in these models (transformers cuts its infinities off, which is not done here): bfloat16 is for them.
"""

from __future__ import annotations

from typing import Any

from torch import nn

from hanlin.core.model.activations import Activation, activation
from hanlin.core.model.attention import Attention
from hanlin.core.model.block import Block
from hanlin.core.model.config import ModelConfig, only
from hanlin.core.model.cross_attention import CrossAttention, CrossBlock
from hanlin.core.model.decoder import plain_embedding
from hanlin.core.model.encoder_decoder import EncoderDecoder, Stack
from hanlin.core.model.feed_forward import FeedForward, GatedFeedForward
from hanlin.core.model.norm import RMSNorm
from hanlin.core.model.positions.relative import RelativePosition
from hanlin.core.model.weights import Names

KIND = "encoder-decoder"
ARCHITECTURES = ("T5ForConditionalGeneration", "MT5ForConditionalGeneration")
MODEL_TYPE = "t5"
SUMMARY = "encoder-decoder, bucketed relative positions, RMSNorm, ReLU or gated GELU"
IGNORED = (
    r"(encoder|decoder)\.embed_tokens\.weight",
    r"decoder\.block\.0\.layer\.1\.EncDecAttention\.relative_attention_bias\.weight",
)
"""Copies of `shared`, and a bias old files carry though cross-attention has none."""


def build(config: ModelConfig) -> EncoderDecoder:
    only(config, is_encoder_decoder=True, is_decoder=False, tie_encoder_decoder=False)
    width = config["d_model"]
    return EncoderDecoder(
        config,
        plain_embedding(config["vocab_size"], width),
        _encoder(config),
        _decoder(config),
        tied=config.get("tie_word_embeddings", True),
        # The length it was trained on: relative positions end nowhere.
        max_positions=config.get("n_positions", 512),
        head_scale=width**-0.5 if _scales_head(config) else 1.0,
    )


def _encoder(config: ModelConfig) -> Stack:
    bias = _position_bias(config)
    position = _position(config, bias, bidirectional=True)
    layers = [
        Block(
            attention_norm=_norm(config),
            attention=_attention(config, position),
            mlp_norm=_norm(config),
            mlp=_feed_forward(config),
        )
        for _ in range(config["num_layers"])
    ]
    return Stack(layers, _norm(config), position_bias=bias)


def _decoder(config: ModelConfig) -> Stack:
    bias = _position_bias(config)
    position = _position(config, bias, bidirectional=False)
    layers = [
        CrossBlock(
            attention_norm=_norm(config),
            attention=_attention(config, position),
            cross_norm=_norm(config),
            cross=CrossAttention(config["d_model"], config["num_heads"], config["d_kv"], scale=1.0),
            mlp_norm=_norm(config),
            mlp=_feed_forward(config),
        )
        for _ in range(config.get("num_decoder_layers") or config["num_layers"])
    ]
    return Stack(layers, _norm(config), position_bias=bias)


def _position_bias(config: ModelConfig) -> nn.Embedding:
    return plain_embedding(config.get("relative_attention_num_buckets", 32), config["num_heads"])


def _position(config: ModelConfig, bias: nn.Embedding, bidirectional: bool) -> RelativePosition:
    return RelativePosition(bias, config.get("relative_attention_max_distance", 128), bidirectional)


def _attention(config: ModelConfig, position: RelativePosition) -> Attention:
    num_heads = config["num_heads"]
    return Attention(config["d_model"], num_heads, num_heads, config["d_kv"], position, scale=1.0)


def _norm(config: ModelConfig) -> RMSNorm:
    return RMSNorm(config["d_model"], config.get("layer_norm_epsilon", 1e-6))


def _feed_forward(config: ModelConfig) -> FeedForward | GatedFeedForward:
    gated, nonlinearity = _feed_forward_kind(config)
    if gated:
        return GatedFeedForward(config["d_model"], config["d_ff"], nonlinearity)
    return FeedForward(config["d_model"], config["d_ff"], nonlinearity, bias=False)


def _feed_forward_kind(config: ModelConfig) -> tuple[bool, Activation]:
    """`feed_forward_proj` is "relu" or "gated-gelu", whose gelu is the tanh one; two newer switches say the same again
    and win. Raises ValueError for what is neither a known activation nor a gated one."""
    default = "gated-gelu" if config.get("model_type") == "mt5" else "relu"
    said = config.get("feed_forward_proj") or default
    name = "gelu_new" if said == "gated-gelu" else said.removeprefix("gated-")
    gated = config.get("is_gated_act", said.startswith("gated-"))
    return gated, activation(config.get("dense_act_fn") or name)


def _scales_head(config: ModelConfig) -> bool:
    """transformers 5 says so in `scale_decoder_outputs`; before, `tie_word_embeddings` meant both. mT5 never does."""
    if config.get("model_type") == "mt5":
        return False
    return config.get("scale_decoder_outputs", config.get("tie_word_embeddings", True))


def names(config: ModelConfig) -> Names:
    gated, _ = _feed_forward_kind(config)
    found = {"embed_tokens": "shared", "lm_head": "lm_head"}
    for stack, mlp in (("encoder", 1), ("decoder", 2)):
        block = f"{stack}.block.*.layer"
        found |= {
            f"{stack}.position_bias": f"{stack}.block.0.layer.0.SelfAttention.relative_attention_bias",
            f"{stack}.layers.*.attention_norm": f"{block}.0.layer_norm",
            **_attention_names(f"{stack}.layers.*.attention", f"{block}.0.SelfAttention"),
            f"{stack}.layers.*.mlp_norm": f"{block}.{mlp}.layer_norm",
            f"{stack}.layers.*.mlp.gate_proj": f"{block}.{mlp}.DenseReluDense.wi_0",
            f"{stack}.layers.*.mlp.up_proj": f"{block}.{mlp}.DenseReluDense.{'wi_1' if gated else 'wi'}",
            f"{stack}.layers.*.mlp.down_proj": f"{block}.{mlp}.DenseReluDense.wo",
            f"{stack}.norm": f"{stack}.final_layer_norm",
        }
    return {
        **found,
        "decoder.layers.*.cross_norm": "decoder.block.*.layer.1.layer_norm",
        **_attention_names("decoder.layers.*.cross", "decoder.block.*.layer.1.EncDecAttention"),
    }


def _attention_names(ours: str, theirs: str) -> dict[str, str]:
    return {f"{ours}.{letter}_proj": f"{theirs}.{letter}" for letter in "qkvo"}


def new_config(
    vocab_size: int,
    width: int,
    num_layers: int,
    num_heads: int,
    head_width: int,
    hidden: int,
    max_positions: int,
    pad_id: int,
    stop_id: int,
    start_id: int,
    norm_eps: float = 1e-6,
) -> dict[str, Any]:
    """The config.json of a new T5 1.1: gated GELU, a head of its own. num_layers: of each stack."""
    return {
        "architectures": ["T5ForConditionalGeneration"],
        "model_type": MODEL_TYPE,
        "is_encoder_decoder": True,
        "vocab_size": vocab_size,
        "d_model": width,
        "d_kv": head_width,
        "d_ff": hidden,
        "num_layers": num_layers,
        "num_decoder_layers": num_layers,
        "num_heads": num_heads,
        "n_positions": max_positions,
        "relative_attention_num_buckets": 32,
        "relative_attention_max_distance": 128,
        "feed_forward_proj": "gated-gelu",
        "layer_norm_epsilon": norm_eps,
        "dropout_rate": 0.0,
        "initializer_factor": 1.0,
        "tie_word_embeddings": False,
        "pad_token_id": pad_id,
        "eos_token_id": stop_id,
        "decoder_start_token_id": start_id,
    }
