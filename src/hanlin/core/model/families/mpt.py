"""MPT. MosaicML 2023, https://www.databricks.com/blog/mpt-7b.

ALiBi with a steepness of its own, LayerNorm without bias and no biases at all, GELU; optionally queries, keys and
values are clipped. Its checkpoints hold the three in one matrix.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch.nn.functional as F
from torch import nn

from hanlin.core.model.attention import Attention
from hanlin.core.model.block import Block
from hanlin.core.model.config import ModelConfig, only
from hanlin.core.model.decoder import Decoder, plain_embedding
from hanlin.core.model.feed_forward import FeedForward
from hanlin.core.model.positions.alibi import ALiBi, slopes
from hanlin.core.model.weights import Names, Part

ARCHITECTURES = ("MptForCausalLM", "MPTForCausalLM")
"""The second as MosaicML's own files have it."""
MODEL_TYPE = "mpt"
SUMMARY = "ALiBi, LayerNorm and no biases, GELU, clipped queries, keys and values"
PREFIX = "transformer."
NORM_TYPES = (None, "layernorm", "low_precision_layernorm")
"""The second is the first computed in 16 bits, for speed in training."""


def build(config: ModelConfig) -> Decoder:
    own = config.get("attn_config") or {}
    _refuse_unknown(config, own)
    width, num_heads, eps = config["d_model"], config["n_heads"], config.get("layer_norm_epsilon", 1e-5)
    alibi = ALiBi(slopes(num_heads, own.get("alibi_bias_max", 8)))
    layers = [
        Block(
            attention_norm=nn.LayerNorm(width, eps, bias=False),
            attention=Attention(
                width,
                num_heads,
                num_heads,
                width // num_heads,
                alibi,
                q_norm=_clip(own),
                k_norm=_clip(own),
                v_norm=_clip(own),
                scale=own.get("softmax_scale"),
            ),
            mlp_norm=nn.LayerNorm(width, eps, bias=False),
            mlp=FeedForward(width, config.get("expansion_ratio", 4) * width, F.gelu, bias=False),
        )
        for _ in range(config["n_layers"])
    ]
    return Decoder(
        config,
        plain_embedding(config["vocab_size"], width),
        layers,
        nn.LayerNorm(width, eps, bias=False),
        tied=config.get("tie_word_embeddings", True),
        max_positions=config["max_seq_len"],
    )


def _refuse_unknown(config: ModelConfig, own: Mapping[str, Any]) -> None:
    """`learned_pos_emb` stands in every file and means nothing beside ALiBi."""
    only(config, no_bias=True, logit_scale=None, embedding_fraction=1.0)
    only(own, attn_type="multihead_attention", alibi=True, qk_ln=False, prefix_lm=False, attn_uses_sequence_id=False)
    only(own, rope=False, qk_gn=False, sliding_window_size=-1)
    if config.get("norm_type") not in NORM_TYPES:
        raise ValueError(f"norm_type {config['norm_type']!r} (known: layernorm, low_precision_layernorm)")


def _clip(own: Mapping[str, Any]) -> nn.Module | None:
    """`clip_qkv`: numbers are held inside [−limit, limit]."""
    limit = own.get("clip_qkv")
    return nn.Hardtanh(-limit, limit) if limit else None


def names(config: ModelConfig) -> Names:
    block = "transformer.blocks.*"
    return {
        "embed_tokens": "transformer.wte",
        "layers.*.attention_norm": f"{block}.norm_1",
        "layers.*.attention.q_proj": Part(f"{block}.attn.Wqkv", 0),
        "layers.*.attention.k_proj": Part(f"{block}.attn.Wqkv", 1),
        "layers.*.attention.v_proj": Part(f"{block}.attn.Wqkv", 2),
        "layers.*.attention.o_proj": f"{block}.attn.out_proj",
        "layers.*.mlp_norm": f"{block}.norm_2",
        "layers.*.mlp": f"{block}.ffn",
        "norm": "transformer.norm_f",
        "lm_head": "lm_head",
    }
