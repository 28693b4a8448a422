"""Qwen2 and Qwen2.5 as llama.cpp holds them. No row is moved; there is no sliding window."""

from __future__ import annotations

from typing import Any

from hanlin.core.model.config import ModelConfig, head_width, only
from hanlin.core.model.families import qwen2 as FAMILY
from hanlin.core.model.gguf.keys import LLAMA_NAMES, Keys, decoder_config, decoder_metadata
from hanlin.core.model.positions.rope import rope_from
from hanlin.core.model.weights import Names

__all__ = ["FAMILY", "config", "metadata", "names"]


def names(config: ModelConfig) -> Names:
    return LLAMA_NAMES


def metadata(config: ModelConfig) -> dict[str, Any]:
    only(config, use_sliding_window=False)
    rope = rope_from(config, head_width(config))
    return {
        **decoder_metadata(config, rope, head_width(config)),
        "feed_forward_length": config["intermediate_size"],
    }


def config(keys: Keys) -> dict[str, Any]:
    return {
        "architectures": [*FAMILY.ARCHITECTURES],
        "model_type": FAMILY.MODEL_TYPE,
        **decoder_config(keys),
        "intermediate_size": keys["feed_forward_length"],
        "use_sliding_window": False,
    }
