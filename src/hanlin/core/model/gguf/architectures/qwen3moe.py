"""Qwen3's mixtures as llama.cpp holds them: the experts of a layer are one tensor. Every layer is a mixture there, and
the chosen experts' weights sum to 1."""

from __future__ import annotations

from typing import Any

from hanlin.core.model.config import ModelConfig, head_width, only
from hanlin.core.model.families import qwen3_moe as FAMILY
from hanlin.core.model.gguf.keys import LLAMA_NAMES, Keys, decoder_config, decoder_metadata
from hanlin.core.model.positions.rope import rope_from
from hanlin.core.model.weights import Names, Part

__all__ = ["FAMILY", "config", "metadata", "names"]


def names(config: ModelConfig) -> Names:
    return {
        **LLAMA_NAMES,
        "layers.*.mlp.router": "blk.*.ffn_gate_inp",
        "layers.*.mlp.experts.*.gate_proj": Part("blk.*.ffn_gate_exps", stacked=True),
        "layers.*.mlp.experts.*.up_proj": Part("blk.*.ffn_up_exps", stacked=True),
        "layers.*.mlp.experts.*.down_proj": Part("blk.*.ffn_down_exps", stacked=True),
    }


def metadata(config: ModelConfig) -> dict[str, Any]:
    only(config, use_sliding_window=False, attention_bias=False, norm_topk_prob=True)
    if not all(FAMILY.is_sparse(config, layer) for layer in range(config["num_hidden_layers"])):
        raise ValueError("layers without a mixture (llama.cpp's qwen3moe has none)")
    D = head_width(config)
    return {
        **decoder_metadata(config, rope_from(config, D), D),
        "feed_forward_length": config["intermediate_size"],
        "expert_count": FAMILY.num_experts(config),
        "expert_used_count": config["num_experts_per_tok"],
        "expert_feed_forward_length": config["moe_intermediate_size"],
    }


def config(keys: Keys) -> dict[str, Any]:
    return {
        "architectures": [*FAMILY.ARCHITECTURES],
        "model_type": FAMILY.MODEL_TYPE,
        **decoder_config(keys),
        "intermediate_size": keys.get("feed_forward_length") or keys["expert_feed_forward_length"],
        "moe_intermediate_size": keys["expert_feed_forward_length"],
        "num_experts": keys["expert_count"],
        "num_experts_per_tok": keys["expert_used_count"],
        "norm_topk_prob": True,
        "decoder_sparse_step": 1,
        "mlp_only_layers": [],
        "attention_bias": False,
        "use_sliding_window": False,
    }
