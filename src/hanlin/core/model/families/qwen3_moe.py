"""Qwen3's mixtures of experts. Yang et al. 2025, https://arxiv.org/abs/2505.09388.

Qwen3's attention; every `decoder_sparse_step`-th layer, but for `mlp_only_layers`, has a mixture of narrow SwiGLU
experts, whose weights sum to 1 only with `norm_topk_prob`. A sliding window holds in all layers. What only training
knows (the balancing loss of `output_router_logits` and `router_aux_loss_coef`) has no part here.
"""

from __future__ import annotations

from torch import nn

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

ARCHITECTURES = ("Qwen3MoeForCausalLM",)
MODEL_TYPE = "qwen3_moe"
SUMMARY = "Qwen3 with a mixture of many narrow experts in all or some layers"


def build(config: ModelConfig) -> Decoder:
    width, eps, D = config["hidden_size"], config.get("rms_norm_eps", 1e-6), head_width(config)
    bias = config.get("attention_bias", False)
    rope = rope_from(config, D)
    layers = [
        Block(
            attention_norm=RMSNorm(width, eps),
            attention=Attention(
                width,
                config["num_attention_heads"],
                config["num_key_value_heads"],
                D,
                rope,
                bias=bias,
                out_bias=bias,
                q_norm=RMSNorm(D, eps),
                k_norm=RMSNorm(D, eps),
                window=config.get("sliding_window", 4096) if config.get("use_sliding_window") else None,
            ),
            mlp_norm=RMSNorm(width, eps),
            mlp=_mixture(config) if is_sparse(config, layer) else _feed_forward(config, config["intermediate_size"]),
        )
        for layer in range(config["num_hidden_layers"])
    ]
    return Decoder(
        config,
        plain_embedding(config["vocab_size"], width),
        layers,
        RMSNorm(width, eps),
        tied=config.get("tie_word_embeddings", False),
        max_positions=config["max_position_embeddings"],
    )


def is_sparse(config: ModelConfig, layer: int) -> bool:
    """Whether the layer (counted from 0) has a mixture."""
    in_step = (layer + 1) % config.get("decoder_sparse_step", 1) == 0
    return in_step and num_experts(config) > 0 and layer not in (config.get("mlp_only_layers") or [])


def num_experts(config: ModelConfig) -> int:
    """`num_experts` in the files of the Qwen team, `num_local_experts` in those transformers 5 writes."""
    return config["num_local_experts"] if "num_local_experts" in config else config["num_experts"]


def _mixture(config: ModelConfig) -> Mixture:
    experts = [_feed_forward(config, config["moe_intermediate_size"]) for _ in range(num_experts(config))]
    normalised = config.get("norm_topk_prob", False)
    return Mixture(config["hidden_size"], experts, config["num_experts_per_tok"], normalised)


def _feed_forward(config: ModelConfig, hidden: int) -> nn.Module:
    return GatedFeedForward(config["hidden_size"], hidden, activation(config.get("hidden_act", "silu")))


def names(config: ModelConfig) -> Names:
    return {**llama.NAMES, "layers.*.mlp.router": "model.layers.*.mlp.gate"}
