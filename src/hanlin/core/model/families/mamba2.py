"""Mamba-2. Dao & Gu 2024, https://arxiv.org/abs/2405.21060.

Mamba with heads: one decay and one step a head, b and c shared by groups of heads, a norm before the output.
"""

from __future__ import annotations

from typing import Any

from hanlin.core.model.activations import activation
from hanlin.core.model.config import ModelConfig
from hanlin.core.model.decoder import Decoder, plain_embedding
from hanlin.core.model.families.mamba import NAMES, NO_LIMIT
from hanlin.core.model.mamba import MixerBlock
from hanlin.core.model.mamba2 import Mamba2Mixer
from hanlin.core.model.recurrent import Float32RMSNorm
from hanlin.core.model.weights import Names

ARCHITECTURES = ("Mamba2ForCausalLM",)
MODEL_TYPE = "mamba2"
SUMMARY = "state space duality: Mamba with heads, scanned chunk by chunk"
PREFIX = "backbone."


def build(config: ModelConfig) -> Decoder:
    width, eps = config["hidden_size"], config["layer_norm_epsilon"]
    num_heads, head_width = config["num_heads"], config["head_dim"]
    if num_heads * head_width != config["expand"] * width:
        raise ValueError(f"num_heads {num_heads} × head_dim {head_width} is not expand × hidden_size")
    layers = [
        MixerBlock(
            Float32RMSNorm(width, eps),
            Mamba2Mixer(
                width,
                num_heads,
                head_width,
                config["n_groups"],
                config["state_size"],
                config["conv_kernel"],
                activation(config.get("hidden_act", "silu")),
                eps,
                chunk=config.get("chunk_size", 256),
                step_limit=step_limit(config),
                bias=config.get("use_bias", False),
                conv_bias=config.get("use_conv_bias", True),
            ),
            float32_residual=config.get("residual_in_fp32", True),
        )
        for _ in range(config["num_hidden_layers"])
    ]
    return Decoder(
        config,
        plain_embedding(config["vocab_size"], width),
        layers,
        Float32RMSNorm(width, eps),
        tied=config.get("tie_word_embeddings", False),
        max_positions=NO_LIMIT,
        embeddings_listed=False,
    )


def step_limit(config: ModelConfig) -> tuple[float, float]:
    """JSON has no infinity: transformers writes {"__float__": "Infinity"} for it."""

    def number(value: Any) -> float:
        return float(value["__float__"] if isinstance(value, dict) else value)

    shortest, longest = config.get("time_step_limit") or (0.0, float("inf"))
    return number(shortest), number(longest)


def names(config: ModelConfig) -> Names:
    return NAMES
