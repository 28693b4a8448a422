"""Llama 1, 2 and 3. Touvron et al. 2023, https://arxiv.org/abs/2302.13971; Llama team 2024, https://arxiv.org/abs/2407.21783.

Pre-norm with RMSNorm, RoPE, SwiGLU, no biases; grouped key/value heads since 2; scaled RoPE since 3.1.
"""

from __future__ import annotations

from hanlin.core.model.activations import activation
from hanlin.core.model.attention import Attention
from hanlin.core.model.block import Block
from hanlin.core.model.config import ModelConfig, head_width
from hanlin.core.model.decoder import Decoder, plain_embedding
from hanlin.core.model.feed_forward import GatedFeedForward
from hanlin.core.model.norm import RMSNorm
from hanlin.core.model.positions.rope import rope_from
from hanlin.core.model.weights import Names

ARCHITECTURES = ("LlamaForCausalLM",)
MODEL_TYPE = "llama"
SUMMARY = "RoPE (llama3 scaling), RMSNorm, SwiGLU, grouped key/value heads"


def build(config: ModelConfig) -> Decoder:
    width, eps = config["hidden_size"], config["rms_norm_eps"]
    num_heads = config["num_attention_heads"]
    bias, mlp_bias = config.get("attention_bias", False), config.get("mlp_bias", False)
    rope = rope_from(config, head_width(config))
    layers = [
        Block(
            attention_norm=RMSNorm(width, eps),
            attention=Attention(
                width,
                num_heads,
                config.get("num_key_value_heads") or num_heads,
                head_width(config),
                rope,
                bias=bias,
                out_bias=bias,
            ),
            mlp_norm=RMSNorm(width, eps),
            mlp=GatedFeedForward(
                width, config["intermediate_size"], activation(config.get("hidden_act", "silu")), mlp_bias
            ),
        )
        for _ in range(config["num_hidden_layers"])
    ]
    return Decoder(
        config,
        plain_embedding(config["vocab_size"], width),
        layers,
        RMSNorm(width, eps),
        tied=config.get("tie_word_embeddings", False),
        max_positions=config["max_position_embeddings"],
    )


NAMES: Names = {
    "embed_tokens": "model.embed_tokens",
    "layers.*.attention_norm": "model.layers.*.input_layernorm",
    "layers.*.attention": "model.layers.*.self_attn",
    "layers.*.mlp_norm": "model.layers.*.post_attention_layernorm",
    "layers.*.mlp": "model.layers.*.mlp",
    "norm": "model.norm",
    "lm_head": "lm_head",
}


def names(config: ModelConfig) -> Names:
    return NAMES
