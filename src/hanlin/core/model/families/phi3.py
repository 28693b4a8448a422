"""Phi-3, Phi-3.5, Phi-4 and Phi-4-mini. Abdin et al. 2024, https://arxiv.org/abs/2404.14219 and
https://arxiv.org/abs/2412.08905.

Llama's block, read beyond its trained length by LongRoPE; Phi-4-mini turns only a part of each head. Its checkpoints
hold queries, keys and values in one matrix, and gate and up projection in another.
"""

from __future__ import annotations

from hanlin.core.model.activations import activation
from hanlin.core.model.attention import Attention
from hanlin.core.model.block import Block
from hanlin.core.model.config import ModelConfig, head_width, only
from hanlin.core.model.decoder import Decoder, plain_embedding
from hanlin.core.model.families import llama
from hanlin.core.model.feed_forward import GatedFeedForward
from hanlin.core.model.norm import RMSNorm
from hanlin.core.model.positions.rope import Rope, rope_from
from hanlin.core.model.weights import Names, Part

ARCHITECTURES = ("Phi3ForCausalLM",)
MODEL_TYPE = "phi3"
SUMMARY = "Llama with LongRoPE, partial rotary, a sliding window, fused matrices on disk"


def build(config: ModelConfig) -> Decoder:
    only(config, attention_bias=False, mlp_bias=False, lm_head_bias=False, full_attn_mod=1, interpolate_factor=1)
    width, eps = config["hidden_size"], config.get("rms_norm_eps", 1e-5)
    num_heads = config["num_attention_heads"]
    rope = _rope(config)
    layers = [
        Block(
            attention_norm=RMSNorm(width, eps),
            attention=Attention(
                width,
                num_heads,
                config.get("num_key_value_heads") or num_heads,
                head_width(config),
                rope,
                window=config.get("sliding_window"),
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


def _rope(config: ModelConfig) -> Rope:
    """The first files call LongRoPE "su", or "yarn"."""
    settings = dict(config.get("rope_parameters") or config.get("rope_scaling") or {})
    if (settings.get("rope_type") or settings.get("type")) in ("su", "yarn"):
        settings["rope_type"] = "longrope"
    known = {"original_max_position_embeddings": 4096, **config, "rope_parameters": settings}
    return rope_from(known, head_width(config))


NAMES: Names = {
    **llama.NAMES,
    "layers.*.attention.q_proj": Part("model.layers.*.self_attn.qkv_proj", 0),
    "layers.*.attention.k_proj": Part("model.layers.*.self_attn.qkv_proj", 1),
    "layers.*.attention.v_proj": Part("model.layers.*.self_attn.qkv_proj", 2),
    "layers.*.mlp.gate_proj": Part("model.layers.*.mlp.gate_up_proj", 0),
    "layers.*.mlp.up_proj": Part("model.layers.*.mlp.gate_up_proj", 1),
}


def names(config: ModelConfig) -> Names:
    return NAMES
