"""BLOOM. BigScience Workshop 2022, https://arxiv.org/abs/2211.05100.

ALiBi instead of position vectors, a LayerNorm right after the embedding, GELU in its tanh form, biases everywhere.
Its checkpoints hold queries, keys and values in one matrix, head by head.
"""

from __future__ import annotations

from torch import nn

from hanlin.core.model.activations import tanh_gelu
from hanlin.core.model.attention import Attention
from hanlin.core.model.block import Block
from hanlin.core.model.config import ModelConfig, only
from hanlin.core.model.decoder import Decoder, plain_embedding
from hanlin.core.model.entry import NormedEntry
from hanlin.core.model.feed_forward import FeedForward
from hanlin.core.model.positions.alibi import ALiBi, slopes
from hanlin.core.model.weights import Names, Part

ARCHITECTURES = ("BloomForCausalLM",)
MODEL_TYPE = "bloom"
SUMMARY = "ALiBi, LayerNorm also after the embedding, GELU, biases, fused matrices on disk"
PREFIX = "transformer."
TRAINED_LENGTH = 2048
"""`seq_length` where the config names none. Nothing ends there: ALiBi has no last place."""


def build(config: ModelConfig) -> Decoder:
    only(config, apply_residual_connection_post_layernorm=False, slow_but_exact=False, n_inner=None)
    width, num_heads, eps = _width(config), _num_heads(config), config.get("layer_norm_epsilon", 1e-5)
    alibi = ALiBi(slopes(num_heads))
    layers = [
        Block(
            attention_norm=nn.LayerNorm(width, eps),
            attention=Attention(width, num_heads, num_heads, width // num_heads, alibi, bias=True, out_bias=True),
            mlp_norm=nn.LayerNorm(width, eps),
            mlp=FeedForward(width, 4 * width, tanh_gelu),
        )
        for _ in range(config.get("n_layer") or config["num_hidden_layers"])
    ]
    return Decoder(
        config,
        plain_embedding(config["vocab_size"], width),
        layers,
        nn.LayerNorm(width, eps),
        entry=NormedEntry(nn.LayerNorm(width, eps)),
        tied=config.get("tie_word_embeddings", True),
        max_positions=config.get("seq_length") or TRAINED_LENGTH,
    )


def _width(config: ModelConfig) -> int:
    """The first files say `n_embed`, which wins where both stand."""
    return config.get("n_embed") or config["hidden_size"]


def _num_heads(config: ModelConfig) -> int:
    return config.get("n_head") or config["num_attention_heads"]


def names(config: ModelConfig) -> Names:
    block, head_width = "transformer.h.*", _width(config) // _num_heads(config)
    fused = f"{block}.self_attention.query_key_value"
    return {
        "embed_tokens": "transformer.word_embeddings",
        "entry.norm": "transformer.word_embeddings_layernorm",
        "layers.*.attention_norm": f"{block}.input_layernorm",
        "layers.*.attention.q_proj": Part(fused, 0, group=head_width),
        "layers.*.attention.k_proj": Part(fused, 1, group=head_width),
        "layers.*.attention.v_proj": Part(fused, 2, group=head_width),
        "layers.*.attention.o_proj": f"{block}.self_attention.dense",
        "layers.*.mlp_norm": f"{block}.post_attention_layernorm",
        "layers.*.mlp.up_proj": f"{block}.mlp.dense_h_to_4h",
        "layers.*.mlp.down_proj": f"{block}.mlp.dense_4h_to_h",
        "norm": "transformer.ln_f",
        "lm_head": "lm_head",
    }
