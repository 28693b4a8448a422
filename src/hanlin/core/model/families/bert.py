"""BERT. Devlin et al. 2018, https://arxiv.org/abs/1810.04805.

Every token sees every other; post-norm with LayerNorm, learned positions, two token types, GELU, biases everywhere.
bert-base-chinese reads one character a token; MiniLM and BGE are BertModel, without the masked-language-model head.
"""

from __future__ import annotations

from typing import Any

from torch import nn

from hanlin.core.model.activations import activation
from hanlin.core.model.attention import Attention
from hanlin.core.model.block import PostNormBlock
from hanlin.core.model.config import ModelConfig, only
from hanlin.core.model.decoder import plain_embedding
from hanlin.core.model.encoder import Encoder, EncoderEntry, MaskedLMHead
from hanlin.core.model.feed_forward import FeedForward
from hanlin.core.model.positions.learned import LearnedPositions
from hanlin.core.model.positions.none import NoPosition
from hanlin.core.model.weights import Names

KIND = "encoder"
ARCHITECTURES = ("BertForMaskedLM", "BertModel")
MODEL_TYPE = "bert"
SUMMARY = "encoder: learned positions, token types, LayerNorm after each part, GELU, biases"
PREFIX = "bert."
IGNORED = (
    r"(bert\.)?pooler\.dense\.(weight|bias)",
    r"(bert\.)?embeddings\.(position_ids|token_type_ids)",
    r"cls\.seq_relationship\.(weight|bias)",
    r"cls\.predictions\.(bias|decoder\.(weight|bias)|transform\.(dense|LayerNorm)\.(weight|bias))",
)
"""Heads for other tasks, counters kept as if they were weights, the second name of a tied bias; and for BertModel the
head it does without."""
RENAMED = {"LayerNorm.gamma": "LayerNorm.weight", "LayerNorm.beta": "LayerNorm.bias"}
"""Files of 2018, bert-base-chinese among them."""


def build(config: ModelConfig) -> Encoder:
    only_encoding(config)
    width, num_positions = config["hidden_size"], config["max_position_embeddings"]
    return Encoder(
        config,
        embedding(config, config.get("pad_token_id", 0)),
        entry(config, LearnedPositions(num_positions, width)),
        layers(config),
        head(config, config["hidden_act"]),
        tied=config.get("tie_word_embeddings", True),
        max_positions=num_positions,
    )


def only_encoding(config: ModelConfig) -> None:
    """BERT's code can be made to decode, or to place tokens by their distance; no model in use does."""
    only(config, is_decoder=False, add_cross_attention=False, position_embedding_type="absolute")


def embedding(config: ModelConfig, pad_id: int | None) -> nn.Embedding:
    embed_tokens = plain_embedding(config["vocab_size"], config["hidden_size"])
    embed_tokens.padding_idx = pad_id
    return embed_tokens


def entry(config: ModelConfig, positions: LearnedPositions) -> EncoderEntry:
    width = config["hidden_size"]
    token_types = plain_embedding(config["type_vocab_size"], width)
    return EncoderEntry(positions, token_types, nn.LayerNorm(width, config["layer_norm_eps"]))


def layers(config: ModelConfig) -> list[PostNormBlock]:
    width, eps = config["hidden_size"], config["layer_norm_eps"]
    num_heads = config["num_attention_heads"]
    return [
        PostNormBlock(
            attention=Attention(
                width, num_heads, num_heads, width // num_heads, NoPosition(), bias=True, out_bias=True
            ),
            attention_norm=nn.LayerNorm(width, eps),
            mlp=FeedForward(width, config["intermediate_size"], activation(config["hidden_act"])),
            mlp_norm=nn.LayerNorm(width, eps),
        )
        for _ in range(config["num_hidden_layers"])
    ]


def head(config: ModelConfig, nonlinearity: str) -> MaskedLMHead | None:
    width = config["hidden_size"]
    if not has_head(config):
        return None
    norm = nn.LayerNorm(width, config["layer_norm_eps"])
    return MaskedLMHead(width, config["vocab_size"], activation(nonlinearity), norm)


def has_head(config: ModelConfig) -> bool:
    """Whether config.json names the model with the masked-language-model head; one that names none has no head."""
    return (config.get("architectures") or [""])[0].endswith("ForMaskedLM")


def names(config: ModelConfig) -> Names:
    """BertModel's files carry no prefix."""
    if not has_head(config):
        return body_names("")
    bias = "bias" if config.get("tie_word_embeddings", True) else "decoder.bias"
    return {
        **body_names(PREFIX),
        "head.dense": "cls.predictions.transform.dense",
        "head.norm": "cls.predictions.transform.LayerNorm",
        "head.decoder": "cls.predictions.decoder",
        "head.decoder.bias": f"cls.predictions.{bias}",
    }


def body_names(prefix: str) -> dict[str, str]:
    """Of everything but the head."""
    block = f"{prefix}encoder.layer.*"
    return {
        "embed_tokens": f"{prefix}embeddings.word_embeddings",
        "entry.positions": f"{prefix}embeddings.position_embeddings",
        "entry.token_types": f"{prefix}embeddings.token_type_embeddings",
        "entry.norm": f"{prefix}embeddings.LayerNorm",
        "layers.*.attention.q_proj": f"{block}.attention.self.query",
        "layers.*.attention.k_proj": f"{block}.attention.self.key",
        "layers.*.attention.v_proj": f"{block}.attention.self.value",
        "layers.*.attention.o_proj": f"{block}.attention.output.dense",
        "layers.*.attention_norm": f"{block}.attention.output.LayerNorm",
        "layers.*.mlp.up_proj": f"{block}.intermediate.dense",
        "layers.*.mlp.down_proj": f"{block}.output.dense",
        "layers.*.mlp_norm": f"{block}.output.LayerNorm",
    }


def new_config(
    vocab_size: int,
    width: int,
    num_layers: int,
    num_heads: int,
    hidden: int,
    max_positions: int,
    pad_id: int,
    norm_eps: float = 1e-12,
) -> dict[str, Any]:
    """The config.json of a new model with the masked-language-model head. One token type: texts are not paired."""
    return {
        "architectures": ["BertForMaskedLM"],
        "model_type": MODEL_TYPE,
        "vocab_size": vocab_size,
        "hidden_size": width,
        "num_hidden_layers": num_layers,
        "num_attention_heads": num_heads,
        "intermediate_size": hidden,
        "hidden_act": "gelu",
        "max_position_embeddings": max_positions,
        "type_vocab_size": 1,
        "layer_norm_eps": norm_eps,
        "hidden_dropout_prob": 0.0,
        "attention_probs_dropout_prob": 0.0,
        "initializer_range": 0.02,
        "pad_token_id": pad_id,
        "tie_word_embeddings": True,
    }
