"""Gemma 3's text model as llama.cpp holds it: the weights of norms with their 1 added; every sixth layer global;
the local rope's base 10,000."""

from __future__ import annotations

from typing import Any

from hanlin.core.model.config import ModelConfig, only
from hanlin.core.model.families import gemma3 as FAMILY
from hanlin.core.model.gguf.keys import LLAMA_NAMES, Keys, decoder_config, decoder_metadata
from hanlin.core.model.weights import Names, Part

__all__ = ["FAMILY", "config", "metadata", "names"]

PATTERN = 6
LOCAL_BASE = 10_000.0
LARGEST = 62
"""Layers of the 27 B model, whose scores are scaled by its width per head instead of the head's own."""


def names(config: ModelConfig) -> Names:
    return {
        **LLAMA_NAMES,
        "layers.*.attention_norm": Part("blk.*.attn_norm", add=1),
        "layers.*.attention.q_norm": Part("blk.*.attn_q_norm", add=1),
        "layers.*.attention.k_norm": Part("blk.*.attn_k_norm", add=1),
        "layers.*.attention_out_norm": Part("blk.*.post_attention_norm", add=1),
        "layers.*.mlp_norm": Part("blk.*.ffn_norm", add=1),
        "layers.*.mlp_out_norm": Part("blk.*.post_ffw_norm", add=1),
        "norm": Part("output_norm", add=1),
    }


def metadata(config: ModelConfig) -> dict[str, Any]:
    D = config.get("head_dim", 256)
    only(config, attention_bias=False, hidden_activation="gelu_pytorch_tanh", final_logit_softcapping=None)
    local, everywhere = (FAMILY.rope_of(config, kind) for kind in (FAMILY.LOCAL, FAMILY.GLOBAL))
    _refuse_other_patterns(config, local.theta)
    return {
        **decoder_metadata(config, everywhere, D),
        "feed_forward_length": config["intermediate_size"],
        "attention.sliding_window": config.get("sliding_window", 4096),
    }


def _refuse_other_patterns(config: ModelConfig, local_base: float) -> None:
    """What llama.cpp has built in can't be told otherwise by a file."""
    kinds = FAMILY.layer_kinds(config)
    expected = [FAMILY.LOCAL if (i + 1) % PATTERN else FAMILY.GLOBAL for i in range(len(kinds))]
    if kinds != expected or local_base != LOCAL_BASE:
        raise ValueError(
            f"layer_types or local rope base {local_base:g} (llama.cpp: every {PATTERN}th global, {LOCAL_BASE:g})"
        )
    if config.get("query_pre_attn_scalar", 256) != scale_base(config):
        raise ValueError(f"query_pre_attn_scalar {config['query_pre_attn_scalar']} (llama.cpp: {scale_base(config):g})")


def scale_base(config: ModelConfig) -> float:
    if config["num_hidden_layers"] == LARGEST:
        return config["hidden_size"] / config["num_attention_heads"]
    return config.get("head_dim", 256)


def config(keys: Keys) -> dict[str, Any]:
    found = decoder_config(keys)
    found |= {
        "architectures": [*FAMILY.ARCHITECTURES],
        "model_type": FAMILY.MODEL_TYPE,
        "intermediate_size": keys["feed_forward_length"],
        "sliding_window": keys["attention.sliding_window"],
        "hidden_activation": "gelu_pytorch_tanh",
        "attention_bias": False,
        "final_logit_softcapping": keys.get("final_logit_softcapping"),
        "layer_types": [
            FAMILY.LOCAL if (i + 1) % PATTERN else FAMILY.GLOBAL for i in range(found["num_hidden_layers"])
        ],
        "rope_parameters": {
            FAMILY.GLOBAL: found["rope_parameters"],
            FAMILY.LOCAL: {"rope_type": "default", "rope_theta": LOCAL_BASE},
        },
    }
    del found["hidden_act"]
    return {**found, "query_pre_attn_scalar": scale_base(found)}
