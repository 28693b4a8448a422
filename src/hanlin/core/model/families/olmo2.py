"""OLMo 2. OLMo team 2024, https://arxiv.org/abs/2501.00656.

Llama's parts with the norms behind attention and feed-forward instead of before them, and a norm over all heads'
queries together, and all keys.
"""

from __future__ import annotations

from hanlin.core.model.activations import activation
from hanlin.core.model.attention import Attention
from hanlin.core.model.block import Block
from hanlin.core.model.config import ModelConfig, head_width
from hanlin.core.model.decoder import Decoder, plain_embedding
from hanlin.core.model.feed_forward import GatedFeedForward
from hanlin.core.model.norm import RMSNorm, WholeRMSNorm
from hanlin.core.model.positions.rope import rope_from
from hanlin.core.model.weights import Names

ARCHITECTURES = ("Olmo2ForCausalLM",)
MODEL_TYPE = "olmo2"
SUMMARY = "Llama with norms after each part instead of before, and on all queries and all keys"


def build(config: ModelConfig) -> Decoder:
    width, eps = config["hidden_size"], config.get("rms_norm_eps", 1e-5)
    num_heads, bias = config["num_attention_heads"], config.get("attention_bias", False)
    num_kv_heads, D = config.get("num_key_value_heads") or num_heads, head_width(config)
    rope = rope_from(config, D)
    layers = [
        Block(
            attention=Attention(
                width,
                num_heads,
                num_kv_heads,
                D,
                rope,
                bias=bias,
                out_bias=bias,
                q_norm=WholeRMSNorm(num_heads * D, eps),
                k_norm=WholeRMSNorm(num_kv_heads * D, eps),
            ),
            attention_out_norm=RMSNorm(width, eps),
            mlp=GatedFeedForward(width, config["intermediate_size"], activation(config.get("hidden_act", "silu"))),
            mlp_out_norm=RMSNorm(width, eps),
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


def names(config: ModelConfig) -> Names:
    return {
        "embed_tokens": "model.embed_tokens",
        "layers.*.attention": "model.layers.*.self_attn",
        "layers.*.attention_out_norm": "model.layers.*.post_attention_layernorm",
        "layers.*.mlp": "model.layers.*.mlp",
        "layers.*.mlp_out_norm": "model.layers.*.post_feedforward_layernorm",
        "norm": "model.norm",
        "lm_head": "lm_head",
    }
