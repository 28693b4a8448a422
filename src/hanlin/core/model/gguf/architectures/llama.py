"""Llama as llama.cpp holds it: the rows of queries and keys stand in pairs, since it turns neighbours."""

from __future__ import annotations

from typing import Any

from hanlin.core.model.config import ModelConfig, head_width
from hanlin.core.model.families import llama as FAMILY
from hanlin.core.model.gguf.keys import LLAMA_NAMES, Keys, decoder_config, decoder_metadata, rope_tensors
from hanlin.core.model.positions.rope import rope_from
from hanlin.core.model.weights import Names, Part

__all__ = ["FAMILY", "config", "metadata", "names", "tensors"]


def names(config: ModelConfig) -> Names:
    D = head_width(config)
    return {
        **LLAMA_NAMES,
        "layers.*.attention.q_proj": Part("blk.*.attn_q", pairs=D),
        "layers.*.attention.k_proj": Part("blk.*.attn_k", pairs=D),
    }


def metadata(config: ModelConfig) -> dict[str, Any]:
    rope = rope_from(config, head_width(config))
    return {
        **decoder_metadata(config, rope, head_width(config)),
        "feed_forward_length": config["intermediate_size"],
    }


def tensors(config: ModelConfig) -> dict[str, Any]:
    return rope_tensors(config)


def config(keys: Keys) -> dict[str, Any]:
    if keys.get("expert_count"):
        raise ValueError("expert_count (a mixture under the name llama)")
    return {
        "architectures": [*FAMILY.ARCHITECTURES],
        "model_type": FAMILY.MODEL_TYPE,
        **decoder_config(keys),
        "intermediate_size": keys.number("feed_forward_length"),
        "attention_bias": "blk.0.attn_q.bias" in keys.shapes,
        "mlp_bias": "blk.0.ffn_up.bias" in keys.shapes,
    }
