"""Gemma 2. Gemma team 2024, https://arxiv.org/abs/2408.00118.

Norms before and after attention and feed-forward, their weights stored as distances from 1; embeddings scaled by √C;
GEGLU; soft caps on scores and logits; every other layer sees a window only; scores scaled by a number of their own.
"""

from __future__ import annotations

from functools import partial

from hanlin.core.model.activations import activation
from hanlin.core.model.attention import Attention, attend
from hanlin.core.model.block import Block
from hanlin.core.model.config import ModelConfig, layer_windows, only
from hanlin.core.model.decoder import Decoder, plain_embedding
from hanlin.core.model.entry import ScaledEntry
from hanlin.core.model.feed_forward import GatedFeedForward
from hanlin.core.model.norm import OffsetRMSNorm
from hanlin.core.model.positions.rope import rope_from
from hanlin.core.model.soft_cap import capped_attention, soft_cap
from hanlin.core.model.weights import Names

ARCHITECTURES = ("Gemma2ForCausalLM",)
MODEL_TYPE = "gemma2"
SUMMARY = "sandwich norms, soft caps, every other layer windowed, GEGLU, embeddings scaled by √C"


def build(config: ModelConfig) -> Decoder:
    only(config, use_bidirectional_attention=False)
    width, eps = config["hidden_size"], config.get("rms_norm_eps", 1e-6)
    D, bias = config.get("head_dim", 256), config.get("attention_bias", False)
    score_cap, logit_cap = config.get("attn_logit_softcapping", 50.0), config.get("final_logit_softcapping", 30.0)
    rope = rope_from(config, D)
    layers = [
        Block(
            attention_norm=OffsetRMSNorm(width, eps),
            attention=Attention(
                width,
                config["num_attention_heads"],
                config["num_key_value_heads"],
                D,
                rope,
                bias=bias,
                out_bias=bias,
                scale=config.get("query_pre_attn_scalar", 256) ** -0.5,
                window=window,
                attend=attend if score_cap is None else capped_attention(score_cap),
            ),
            attention_out_norm=OffsetRMSNorm(width, eps),
            mlp_norm=OffsetRMSNorm(width, eps),
            mlp=GatedFeedForward(
                width, config["intermediate_size"], activation(config.get("hidden_activation", "gelu_pytorch_tanh"))
            ),
            mlp_out_norm=OffsetRMSNorm(width, eps),
        )
        for window in _windows(config)
    ]
    return Decoder(
        config,
        plain_embedding(config["vocab_size"], width),
        layers,
        OffsetRMSNorm(width, eps),
        tied=config.get("tie_word_embeddings", True),
        max_positions=config["max_position_embeddings"],
        entry=ScaledEntry(width**0.5),
        shape_logits=None if logit_cap is None else partial(soft_cap, cap=logit_cap),
    )


def _windows(config: ModelConfig) -> list[int | None]:
    """Local and global layers in turn, the first one local."""
    kinds = ["full_attention" if i % 2 else "sliding_attention" for i in range(config["num_hidden_layers"])]
    return layer_windows({"sliding_window": 4096, **config}, kinds)


NAMES: Names = {
    "embed_tokens": "model.embed_tokens",
    "layers.*.attention_norm": "model.layers.*.input_layernorm",
    "layers.*.attention": "model.layers.*.self_attn",
    "layers.*.attention_out_norm": "model.layers.*.post_attention_layernorm",
    "layers.*.mlp_norm": "model.layers.*.pre_feedforward_layernorm",
    "layers.*.mlp": "model.layers.*.mlp",
    "layers.*.mlp_out_norm": "model.layers.*.post_feedforward_layernorm",
    "norm": "model.norm",
    "lm_head": "lm_head",
}


def names(config: ModelConfig) -> Names:
    return NAMES
