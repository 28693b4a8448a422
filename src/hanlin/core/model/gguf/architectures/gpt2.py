"""GPT-2 as llama.cpp holds it: matrices as (out, in), queries, keys and values in one."""

from __future__ import annotations

from typing import Any

from hanlin.core.model.config import ModelConfig, only
from hanlin.core.model.families import gpt2 as FAMILY
from hanlin.core.model.gguf.keys import Keys
from hanlin.core.model.weights import Names, Part

__all__ = ["FAMILY", "config", "metadata", "names"]


def names(config: ModelConfig) -> Names:
    return {
        "embed_tokens": "token_embd",
        "entry": "position_embd",
        "layers.*.attention_norm": "blk.*.attn_norm",
        "layers.*.attention.q_proj": Part("blk.*.attn_qkv", 0),
        "layers.*.attention.k_proj": Part("blk.*.attn_qkv", 1),
        "layers.*.attention.v_proj": Part("blk.*.attn_qkv", 2),
        "layers.*.attention.o_proj": "blk.*.attn_output",
        "layers.*.mlp_norm": "blk.*.ffn_norm",
        "layers.*.mlp.up_proj": "blk.*.ffn_up",
        "layers.*.mlp.down_proj": "blk.*.ffn_down",
        "norm": "output_norm",
        "lm_head": "output",
    }


def metadata(config: ModelConfig) -> dict[str, Any]:
    only(config, scale_attn_weights=True, scale_attn_by_inverse_layer_idx=False, activation_function="gelu_new")
    return {
        "block_count": config["n_layer"],
        "context_length": config["n_positions"],
        "embedding_length": config["n_embd"],
        "feed_forward_length": config.get("n_inner") or 4 * config["n_embd"],
        "attention.head_count": config["n_head"],
        "attention.layer_norm_epsilon": config["layer_norm_epsilon"],
    }


def config(keys: Keys) -> dict[str, Any]:
    return {
        "architectures": [*FAMILY.ARCHITECTURES],
        "model_type": FAMILY.MODEL_TYPE,
        "vocab_size": keys.vocab_size,
        "n_layer": keys["block_count"],
        "n_positions": keys["context_length"],
        "n_embd": keys["embedding_length"],
        "n_inner": keys["feed_forward_length"],
        "n_head": keys["attention.head_count"],
        "layer_norm_epsilon": keys["attention.layer_norm_epsilon"],
        "activation_function": "gelu_new",
        "tie_word_embeddings": keys.tied,
    }
