"""Mistral. Jiang et al. 2023, https://arxiv.org/abs/2310.06825.

Llama's block, without biases; each token sees only a window of those before it. Since 0.2 the window is often null.
"""

from __future__ import annotations

from hanlin.core.model.activations import activation
from hanlin.core.model.attention import Attention
from hanlin.core.model.block import Block
from hanlin.core.model.config import ModelConfig, head_width, only
from hanlin.core.model.decoder import Decoder, plain_embedding
from hanlin.core.model.families.llama import NAMES
from hanlin.core.model.feed_forward import GatedFeedForward
from hanlin.core.model.norm import RMSNorm
from hanlin.core.model.positions.rope import rope_from
from hanlin.core.model.weights import Names

ARCHITECTURES = ("MistralForCausalLM",)
MODEL_TYPE = "mistral"
SUMMARY = "Llama with a sliding window in every layer"


def build(config: ModelConfig) -> Decoder:
    only(config, layer_types=None)  # layers that differ: Ministral
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
                window=config.get("sliding_window", 4096),
            ),
            mlp_norm=RMSNorm(width, eps),
            mlp=GatedFeedForward(width, config["intermediate_size"], activation(config.get("hidden_act", "silu"))),
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
    return NAMES
