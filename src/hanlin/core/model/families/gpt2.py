"""GPT-2. Radford et al. 2019: pre-norm with LayerNorm, learned positions, plain feed-forward with GELU, biases
everywhere.

Its checkpoints hold matrices as (in, out), and queries, keys and values in one.
"""

from __future__ import annotations

from torch import nn

from hanlin.core.model.activations import activation
from hanlin.core.model.attention import Attention
from hanlin.core.model.block import Block
from hanlin.core.model.config import ModelConfig, only
from hanlin.core.model.decoder import Decoder, plain_embedding
from hanlin.core.model.feed_forward import FeedForward
from hanlin.core.model.positions.learned import LearnedPositions
from hanlin.core.model.positions.none import NoPosition
from hanlin.core.model.weights import Names, Part

ARCHITECTURES = ("GPT2LMHeadModel",)
MODEL_TYPE = "gpt2"
SUMMARY = "learned positions, LayerNorm, GELU, biases, fused and transposed matrices on disk"
PREFIX = "transformer."
IGNORED = (r"(transformer\.)?h\.\d+\.attn\.(masked_)?bias",)
"""Causal masks that old files carry as if they were weights."""


def build(config: ModelConfig) -> Decoder:
    only(config, add_cross_attention=False)
    width, eps = config["n_embd"], config["layer_norm_epsilon"]
    head_width = width // config["n_head"]
    hidden = config.get("n_inner") or 4 * width
    layers = [
        Block(
            attention_norm=nn.LayerNorm(width, eps),
            attention=Attention(
                width,
                config["n_head"],
                config["n_head"],
                head_width,
                NoPosition(),
                bias=True,
                out_bias=True,
                scale=_scale(config, head_width, layer),
            ),
            mlp_norm=nn.LayerNorm(width, eps),
            mlp=FeedForward(width, hidden, activation(config["activation_function"])),
        )
        for layer in range(config["n_layer"])
    ]
    return Decoder(
        config,
        plain_embedding(config["vocab_size"], width),
        layers,
        nn.LayerNorm(width, eps),
        entry=LearnedPositions(config["n_positions"], width),
        tied=config.get("tie_word_embeddings", True),
        max_positions=config["n_positions"],
    )


def _scale(config: ModelConfig, head_width: int, layer: int) -> float:
    scale = head_width**-0.5 if config.get("scale_attn_weights", True) else 1.0
    return scale / (layer + 1) if config.get("scale_attn_by_inverse_layer_idx") else scale


def names(config: ModelConfig) -> Names:
    block = "transformer.h.*"
    return {
        "embed_tokens": "transformer.wte",
        "entry": "transformer.wpe",
        "layers.*.attention_norm": f"{block}.ln_1",
        "layers.*.attention.q_proj": Part(f"{block}.attn.c_attn", 0, transposed=True),
        "layers.*.attention.k_proj": Part(f"{block}.attn.c_attn", 1, transposed=True),
        "layers.*.attention.v_proj": Part(f"{block}.attn.c_attn", 2, transposed=True),
        "layers.*.attention.o_proj": Part(f"{block}.attn.c_proj", transposed=True),
        "layers.*.mlp_norm": f"{block}.ln_2",
        "layers.*.mlp.up_proj": Part(f"{block}.mlp.c_fc", transposed=True),
        "layers.*.mlp.down_proj": Part(f"{block}.mlp.c_proj", transposed=True),
        "norm": "transformer.ln_f",
        "lm_head": "lm_head",
    }
