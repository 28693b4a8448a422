"""Phi-1, 1.5 and 2. Gunasekar et al. 2023, https://arxiv.org/abs/2306.11644; Li et al. 2023, https://arxiv.org/abs/2309.05463.

Attention and a plain feed-forward side by side behind one LayerNorm, RoPE on a part of each head, biases everywhere,
the head's included; optionally a LayerNorm on each head's queries and keys.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import nn

from hanlin.core.model.activations import activation
from hanlin.core.model.attention import Attention
from hanlin.core.model.block import ParallelBlock
from hanlin.core.model.config import ModelConfig, head_width
from hanlin.core.model.decoder import Decoder, plain_embedding
from hanlin.core.model.feed_forward import FeedForward
from hanlin.core.model.positions.rope import rope_from
from hanlin.core.model.weights import Names

ARCHITECTURES = ("PhiForCausalLM",)
MODEL_TYPE = "phi"
SUMMARY = "attention and feed-forward in parallel, partial RoPE, LayerNorm, biases, the head's too"
ROTARY_SHARE = 0.5
"""Where the config names none."""


def build(config: ModelConfig) -> Decoder:
    return decoder(config, lambda: feed_forward(config))


def decoder(config: ModelConfig, mlp: Callable[[], nn.Module]) -> Decoder:
    """Phi with what `mlp` makes beside each attention."""
    width, eps, D = config["hidden_size"], config.get("layer_norm_eps", 1e-5), head_width(config)
    num_heads, normed = config["num_attention_heads"], config.get("qk_layernorm", False)
    rope = rope_from({"partial_rotary_factor": ROTARY_SHARE, **config}, D)
    layers = [
        ParallelBlock(
            norm=nn.LayerNorm(width, eps),
            attention=Attention(
                width,
                num_heads,
                config.get("num_key_value_heads") or num_heads,
                D,
                rope,
                bias=True,
                out_bias=True,
                q_norm=nn.LayerNorm(D, eps) if normed else None,
                k_norm=nn.LayerNorm(D, eps) if normed else None,
            ),
            mlp=mlp(),
        )
        for _ in range(config["num_hidden_layers"])
    ]
    return Decoder(
        config,
        plain_embedding(config["vocab_size"], width),
        layers,
        nn.LayerNorm(width, eps),
        tied=config.get("tie_word_embeddings", False),
        max_positions=config["max_position_embeddings"],
        head_bias=True,
    )


def feed_forward(config: ModelConfig) -> FeedForward:
    return FeedForward(
        config["hidden_size"], config["intermediate_size"], activation(config.get("hidden_act", "gelu_new"))
    )


NAMES: Names = {
    "embed_tokens": "model.embed_tokens",
    "layers.*.norm": "model.layers.*.input_layernorm",
    "layers.*.attention": "model.layers.*.self_attn",
    "layers.*.attention.o_proj": "model.layers.*.self_attn.dense",
    "layers.*.attention.q_norm": "model.layers.*.self_attn.q_layernorm",
    "layers.*.attention.k_norm": "model.layers.*.self_attn.k_layernorm",
    "layers.*.mlp.up_proj": "model.layers.*.mlp.fc1",
    "layers.*.mlp.down_proj": "model.layers.*.mlp.fc2",
    "norm": "model.final_layernorm",
    "lm_head": "lm_head",
}


def names(config: ModelConfig) -> Names:
    return NAMES
