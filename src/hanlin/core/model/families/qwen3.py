"""Qwen3. Yang et al. 2025, https://arxiv.org/abs/2505.09388.

Llama's block with a norm on each head's queries and keys, and head widths of their own. What `hanlin pretrain` makes.
"""

from __future__ import annotations

from typing import Any

from hanlin.core.model.activations import activation
from hanlin.core.model.attention import Attention
from hanlin.core.model.block import Block
from hanlin.core.model.config import ModelConfig, layer_windows
from hanlin.core.model.decoder import Decoder, plain_embedding
from hanlin.core.model.families.llama import NAMES
from hanlin.core.model.feed_forward import GatedFeedForward
from hanlin.core.model.norm import RMSNorm
from hanlin.core.model.positions.rope import rope_from
from hanlin.core.model.weights import Names

ARCHITECTURES = ("Qwen3ForCausalLM",)
MODEL_TYPE = "qwen3"
SUMMARY = "Llama with a norm on queries and keys, head width free of C/H"


def build(config: ModelConfig) -> Decoder:
    width, eps = config["hidden_size"], config["rms_norm_eps"]
    num_heads, bias = config["num_attention_heads"], config.get("attention_bias", False)
    D = config.get("head_dim") or 128
    rope = rope_from(config, D)
    layers = [
        Block(
            attention_norm=RMSNorm(width, eps),
            attention=Attention(
                width,
                num_heads,
                config.get("num_key_value_heads") or num_heads,
                D,
                rope,
                bias=bias,
                out_bias=bias,
                q_norm=RMSNorm(D, eps),
                k_norm=RMSNorm(D, eps),
                window=window,
            ),
            mlp_norm=RMSNorm(width, eps),
            mlp=GatedFeedForward(width, config["intermediate_size"], activation(config["hidden_act"])),
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


def qwen_windows(config: ModelConfig) -> list[int | None]:
    """A sliding window only where `use_sliding_window` says so, and then in the layers from `max_window_layers` on."""
    count, first = config["num_hidden_layers"], config.get("max_window_layers", 28)
    if not config.get("use_sliding_window"):
        return [None] * count
    return layer_windows(config, ["sliding_attention" if i >= first else "full_attention" for i in range(count)])


def names(config: ModelConfig) -> Names:
    return NAMES


def new_config(
    vocab_size: int,
    width: int,
    num_layers: int,
    num_heads: int,
    num_kv_heads: int,
    head_width: int,
    hidden: int,
    max_positions: int,
    rope_theta: float = 10_000.0,
    norm_eps: float = 1e-6,
    tied: bool = True,
) -> dict[str, Any]:
    """The config.json of a new model, as transformers and vLLM read it.

    `rope_theta` stands in both places: old and new readers differ.
    """
    return {
        "architectures": [*ARCHITECTURES],
        "model_type": MODEL_TYPE,
        "vocab_size": vocab_size,
        "hidden_size": width,
        "num_hidden_layers": num_layers,
        "num_attention_heads": num_heads,
        "num_key_value_heads": num_kv_heads,
        "head_dim": head_width,
        "intermediate_size": hidden,
        "max_position_embeddings": max_positions,
        "rope_theta": rope_theta,
        "rope_parameters": {"rope_theta": rope_theta, "rope_type": "default"},
        "rms_norm_eps": norm_eps,
        "tie_word_embeddings": tied,
        "hidden_act": "silu",
        "attention_bias": False,
        "attention_dropout": 0.0,
        "use_sliding_window": False,
        "initializer_range": 0.02,
    }
