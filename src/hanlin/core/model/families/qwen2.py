"""Qwen2 and Qwen2.5. Yang et al. 2024, https://arxiv.org/abs/2407.10671 and https://arxiv.org/abs/2412.15115.

Llama's block with biases on queries, keys and values, none on the output; a sliding window in the upper layers.
"""

from __future__ import annotations

from hanlin.core.model.activations import activation
from hanlin.core.model.attention import Attention
from hanlin.core.model.block import Block
from hanlin.core.model.config import ModelConfig, head_width
from hanlin.core.model.decoder import Decoder, plain_embedding
from hanlin.core.model.families.llama import NAMES
from hanlin.core.model.families.qwen3 import qwen_windows
from hanlin.core.model.feed_forward import GatedFeedForward
from hanlin.core.model.norm import RMSNorm
from hanlin.core.model.positions.rope import rope_from
from hanlin.core.model.weights import Names

ARCHITECTURES = ("Qwen2ForCausalLM",)
MODEL_TYPE = "qwen2"
SUMMARY = "Llama with biases on queries, keys and values"


def build(config: ModelConfig) -> Decoder:
    width, eps = config["hidden_size"], config.get("rms_norm_eps", 1e-6)
    num_heads = config["num_attention_heads"]
    rope = rope_from(config, head_width(config))
    layers = [
        Block(
            attention_norm=RMSNorm(width, eps),
            attention=Attention(
                width,
                num_heads,
                config["num_key_value_heads"] or num_heads,
                head_width(config),
                rope,
                bias=True,
                window=window,
            ),
            mlp_norm=RMSNorm(width, eps),
            mlp=GatedFeedForward(width, config["intermediate_size"], activation(config.get("hidden_act", "silu"))),
        )
        for window in qwen_windows(config)
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
    return NAMES
