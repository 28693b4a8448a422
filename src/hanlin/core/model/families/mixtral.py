"""Mixtral. Jiang et al. 2024, https://arxiv.org/abs/2401.04088.

Llama's block with a mixture of SwiGLU experts in the feed-forward's place, the chosen experts' weights made to sum to
1, and an optional sliding window. What only training knows (`router_jitter_noise`, the balancing loss of
`output_router_logits` and `router_aux_loss_coef`) has no part here.
"""

from __future__ import annotations

from hanlin.core.model.activations import activation
from hanlin.core.model.attention import Attention
from hanlin.core.model.block import Block
from hanlin.core.model.config import ModelConfig, head_width
from hanlin.core.model.decoder import Decoder, plain_embedding
from hanlin.core.model.families import llama
from hanlin.core.model.feed_forward import GatedFeedForward
from hanlin.core.model.mixture import Mixture
from hanlin.core.model.norm import RMSNorm
from hanlin.core.model.positions.rope import rope_from
from hanlin.core.model.weights import Names

ARCHITECTURES = ("MixtralForCausalLM",)
MODEL_TYPE = "mixtral"
SUMMARY = "Llama with a mixture of SwiGLU experts, weights normalised"


def build(config: ModelConfig) -> Decoder:
    width, eps = config["hidden_size"], config.get("rms_norm_eps", 1e-5)
    num_heads = config["num_attention_heads"]
    rope = rope_from(config, head_width(config), theta=1_000_000.0)
    layers = [
        Block(
            attention_norm=RMSNorm(width, eps),
            attention=Attention(
                width,
                num_heads,
                config["num_key_value_heads"] or num_heads,
                head_width(config),
                rope,
                window=config.get("sliding_window"),
            ),
            mlp_norm=RMSNorm(width, eps),
            mlp=_mixture(config),
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


def _mixture(config: ModelConfig) -> Mixture:
    width, silu = config["hidden_size"], activation(config.get("hidden_act", "silu"))
    experts = [GatedFeedForward(width, config["intermediate_size"], silu) for _ in range(config["num_local_experts"])]
    return Mixture(width, experts, config["num_experts_per_tok"])


def names(config: ModelConfig) -> Names:
    mixture = "model.layers.*.block_sparse_moe"
    return {
        **llama.NAMES,
        "layers.*.mlp.router": f"{mixture}.gate",
        "layers.*.mlp.experts.*.gate_proj": f"{mixture}.experts.*.w1",
        "layers.*.mlp.experts.*.up_proj": f"{mixture}.experts.*.w3",
        "layers.*.mlp.experts.*.down_proj": f"{mixture}.experts.*.w2",
    }
