"""BERT as llama.cpp holds it: an encoder for sentence embeddings, without the head for masked words."""

from __future__ import annotations

from typing import Any

from hanlin.core.model.config import ModelConfig, only
from hanlin.core.model.families import bert as FAMILY
from hanlin.core.model.gguf.keys import Keys
from hanlin.core.model.weights import Names

__all__ = ["FAMILY", "config", "metadata", "names"]

MEAN_POOLING = 1


def names(config: ModelConfig) -> Names:
    if FAMILY.has_head(config):
        raise ValueError("BertForMaskedLM (llama.cpp has no head for masked words; save it as BertModel)")
    return {
        "embed_tokens": "token_embd",
        "entry.positions": "position_embd",
        "entry.token_types": "token_types",
        "entry.norm": "token_embd_norm",
        "layers.*.attention.q_proj": "blk.*.attn_q",
        "layers.*.attention.k_proj": "blk.*.attn_k",
        "layers.*.attention.v_proj": "blk.*.attn_v",
        "layers.*.attention.o_proj": "blk.*.attn_output",
        "layers.*.attention_norm": "blk.*.attn_output_norm",
        "layers.*.mlp.up_proj": "blk.*.ffn_up",
        "layers.*.mlp.down_proj": "blk.*.ffn_down",
        "layers.*.mlp_norm": "blk.*.layer_output_norm",
    }


def metadata(config: ModelConfig) -> dict[str, Any]:
    only(config, hidden_act="gelu")
    return {
        "block_count": config["num_hidden_layers"],
        "context_length": config["max_position_embeddings"],
        "embedding_length": config["hidden_size"],
        "feed_forward_length": config["intermediate_size"],
        "attention.head_count": config["num_attention_heads"],
        "attention.layer_norm_epsilon": config["layer_norm_eps"],
        "attention.causal": False,
        "pooling_type": MEAN_POOLING,
    }


def config(keys: Keys) -> dict[str, Any]:
    return {
        "architectures": ["BertModel"],
        "model_type": FAMILY.MODEL_TYPE,
        "vocab_size": keys.vocab_size,
        "num_hidden_layers": keys["block_count"],
        "max_position_embeddings": keys["context_length"],
        "hidden_size": keys["embedding_length"],
        "intermediate_size": keys["feed_forward_length"],
        "num_attention_heads": keys["attention.head_count"],
        "layer_norm_eps": keys["attention.layer_norm_epsilon"],
        "type_vocab_size": keys.shapes["token_types.weight"][0] if "token_types.weight" in keys.shapes else 1,
        "hidden_act": "gelu",
    }
