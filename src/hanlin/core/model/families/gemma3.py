"""Gemma 3, its text model. Gemma team 2025, https://arxiv.org/abs/2503.19786.

Gemma 2 with norms on queries and keys in place of the scores' soft cap, five local layers to a global one, and a rope
for each kind: a large base for the global layers, scaled for long texts, a small one for the local.
"""

from __future__ import annotations

from functools import partial

from hanlin.core.model.activations import activation
from hanlin.core.model.attention import Attention
from hanlin.core.model.block import Block
from hanlin.core.model.config import ModelConfig, layer_windows, only
from hanlin.core.model.decoder import Decoder, plain_embedding
from hanlin.core.model.entry import ScaledEntry
from hanlin.core.model.families.gemma2 import NAMES
from hanlin.core.model.feed_forward import GatedFeedForward
from hanlin.core.model.norm import OffsetRMSNorm
from hanlin.core.model.positions.rope import Rope, rope_from
from hanlin.core.model.soft_cap import soft_cap
from hanlin.core.model.weights import Names

ARCHITECTURES = ("Gemma3ForCausalLM",)
MODEL_TYPE = "gemma3_text"
SUMMARY = "Gemma 2 with a norm on queries and keys, five local layers to a global one, a rope for each kind"

LOCAL, GLOBAL = "sliding_attention", "full_attention"


def build(config: ModelConfig) -> Decoder:
    # transformers reads attn_logit_softcapping and never applies it: what is meant by it is not known.
    only(config, use_bidirectional_attention=False, attn_logit_softcapping=None)
    width, eps = config["hidden_size"], config.get("rms_norm_eps", 1e-6)
    D, bias = config.get("head_dim", 256), config.get("attention_bias", False)
    logit_cap, kinds = config.get("final_logit_softcapping"), layer_kinds(config)
    ropes = {kind: rope_of(config, kind) for kind in (LOCAL, GLOBAL)}
    layers = [
        Block(
            attention_norm=OffsetRMSNorm(width, eps),
            attention=Attention(
                width,
                config["num_attention_heads"],
                config["num_key_value_heads"],
                D,
                ropes[kind],
                bias=bias,
                out_bias=bias,
                q_norm=OffsetRMSNorm(D, eps),
                k_norm=OffsetRMSNorm(D, eps),
                scale=config.get("query_pre_attn_scalar", 256) ** -0.5,
                window=window,
            ),
            attention_out_norm=OffsetRMSNorm(width, eps),
            mlp_norm=OffsetRMSNorm(width, eps),
            mlp=GatedFeedForward(
                width, config["intermediate_size"], activation(config.get("hidden_activation", "gelu_pytorch_tanh"))
            ),
            mlp_out_norm=OffsetRMSNorm(width, eps),
        )
        for kind, window in zip(kinds, layer_windows({"sliding_window": 4096, **config}, kinds))
    ]
    return Decoder(
        config,
        plain_embedding(config["vocab_size"], width),
        layers,
        OffsetRMSNorm(width, eps),
        tied=config.get("tie_word_embeddings", True),
        max_positions=config["max_position_embeddings"],
        entry=ScaledEntry(width**0.5),
        shape_logits=None if logit_cap is None else partial(soft_cap, cap=logit_cap),
    )


def layer_kinds(config: ModelConfig) -> list[str]:
    """Of each layer: `layer_types`, or in older configs every n-th is global."""
    every = config.get("sliding_window_pattern") or config.get("_sliding_window_pattern") or 6
    pattern = [LOCAL if (i + 1) % every else GLOBAL for i in range(config["num_hidden_layers"])]
    return config.get("layer_types") or pattern


def rope_of(config: ModelConfig, kind: str) -> Rope:
    """New configs hold a rope for each layer type in `rope_parameters`; older ones `rope_theta` and `rope_scaling` of
    the global layers, `rope_local_base_freq` of the local. Raises ValueError where `rope_parameters` holds anything
    else: transformers would pass it over."""
    parameters = config.get("rope_parameters") or {}
    if set(parameters) - {LOCAL, GLOBAL}:
        raise ValueError(f"rope_parameters {parameters} (known: one for {LOCAL}, one for {GLOBAL})")
    if kind == GLOBAL:
        base, scaling = config.get("rope_theta") or 1e6, config.get("rope_scaling") or {}
    else:
        base, scaling = config.get("rope_local_base_freq") or 1e4, {}
    settings = {"rope_theta": base, **(parameters.get(kind) or {}), **scaling}
    longest = config["max_position_embeddings"]
    return rope_from({"rope_parameters": settings, "max_position_embeddings": longest}, config.get("head_dim", 256))


def names(config: ModelConfig) -> Names:
    return NAMES
