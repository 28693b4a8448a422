"""Mamba. Gu & Dao 2023, https://arxiv.org/abs/2312.00752.

No attention and no feed-forward: every block is a selective scan with a gate, and its memory does not grow.
"""

from __future__ import annotations

import math

from hanlin.core.model.activations import activation
from hanlin.core.model.config import ModelConfig
from hanlin.core.model.decoder import Decoder, plain_embedding
from hanlin.core.model.mamba import MambaMixer, MixerBlock
from hanlin.core.model.recurrent import Float32RMSNorm
from hanlin.core.model.weights import Names

ARCHITECTURES = ("MambaForCausalLM",)
MODEL_TYPE = "mamba"
SUMMARY = "selective scan, short convolution, no attention"
PREFIX = "backbone."

NO_LIMIT = 2**20
"""A state has no last place; this many tokens is more than any text here."""


def build(config: ModelConfig) -> Decoder:
    width, eps = config["hidden_size"], config["layer_norm_epsilon"]
    step_rank = config["time_step_rank"]
    layers = [
        MixerBlock(
            Float32RMSNorm(width, eps),
            MambaMixer(
                width,
                int(config["expand"] * width),
                config["state_size"],
                math.ceil(width / 16) if step_rank == "auto" else int(step_rank),
                config["conv_kernel"],
                activation(config.get("hidden_act", "silu")),
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
        tied=config.get("tie_word_embeddings", True),
        max_positions=NO_LIMIT,
        embeddings_listed=False,
    )


NAMES: Names = {
    "embed_tokens": "backbone.embeddings",
    "layers.*": "backbone.layers.*",
    "norm": "backbone.norm_f",
    "lm_head": "lm_head",
}


def names(config: ModelConfig) -> Names:
    return NAMES
