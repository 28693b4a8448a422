"""The keys most of llama.cpp's architectures share, and where config.json has them (ggml, gguf.md)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from hanlin.core.model.config import ModelConfig, head_width, only
from hanlin.core.model.positions.rope import Rope, rope_from
from hanlin.core.model.weights import Names

LLAMA_NAMES: Names = {
    "embed_tokens": "token_embd",
    "layers.*.attention_norm": "blk.*.attn_norm",
    "layers.*.attention.q_proj": "blk.*.attn_q",
    "layers.*.attention.k_proj": "blk.*.attn_k",
    "layers.*.attention.v_proj": "blk.*.attn_v",
    "layers.*.attention.o_proj": "blk.*.attn_output",
    "layers.*.attention.q_norm": "blk.*.attn_q_norm",
    "layers.*.attention.k_norm": "blk.*.attn_k_norm",
    "layers.*.mlp_norm": "blk.*.ffn_norm",
    "layers.*.mlp.gate_proj": "blk.*.ffn_gate",
    "layers.*.mlp.up_proj": "blk.*.ffn_up",
    "layers.*.mlp.down_proj": "blk.*.ffn_down",
    "norm": "output_norm",
    "lm_head": "output",
}
"""Our modules → llama.cpp's tensors, for every decoder with Llama's parts."""

ROPE_FACTORS = "rope_freqs.weight"
"""(width/2): by how much each pair's frequency is divided (Llama 3.1)."""


@dataclass(frozen=True)
class Keys:
    """The keys of one architecture, and the names and shapes of the file's tensors."""

    architecture: str
    metadata: Mapping[str, Any]
    shapes: Mapping[str, Sequence[int]]
    rope_factors: Sequence[float] | None = None

    def __getitem__(self, name: str) -> Any:
        """Raises KeyError with the whole key."""
        return self.metadata[f"{self.architecture}.{name}"]

    def get(self, name: str, default: Any = None) -> Any:
        return self.metadata.get(f"{self.architecture}.{name}", default)

    def number(self, name: str, default: Any = None) -> Any:
        """A number; an array of equal numbers (one for each layer) counts as one. Raises ValueError for another."""
        found = self[name] if default is None else self.get(name, default)
        if not isinstance(found, list):
            return found
        if len(set(found)) != 1:
            raise ValueError(f"{self.architecture}.{name} differs from layer to layer")
        return found[0]

    @property
    def vocab_size(self) -> int:
        """Rows of the embedding."""
        return self.shapes["token_embd.weight"][0]

    @property
    def tied(self) -> bool:
        return "output.weight" not in self.shapes


def decoder_config(keys: Keys) -> dict[str, Any]:
    """What Llama, Qwen and Gemma say in the same words."""
    num_heads = keys.number("attention.head_count")
    width = keys["embedding_length"]
    return {
        "vocab_size": keys.vocab_size,
        "hidden_size": width,
        "num_hidden_layers": keys["block_count"],
        "num_attention_heads": num_heads,
        "num_key_value_heads": keys.number("attention.head_count_kv", num_heads),
        "head_dim": keys.get("attention.key_length") or keys.get("rope.dimension_count") or width // num_heads,
        "max_position_embeddings": keys["context_length"],
        "rms_norm_eps": _short(keys["attention.layer_norm_rms_epsilon"]),
        "rope_parameters": rope_parameters(keys),
        "tie_word_embeddings": keys.tied,
        "hidden_act": "silu",
    }


def decoder_metadata(config: ModelConfig, rope: Rope, width: int) -> dict[str, Any]:
    """The reverse of `decoder_config`. width: of a head. The vocabulary's size is that of its list."""
    return {
        "block_count": config["num_hidden_layers"],
        "context_length": config["max_position_embeddings"],
        "embedding_length": config["hidden_size"],
        "attention.head_count": config["num_attention_heads"],
        "attention.head_count_kv": config.get("num_key_value_heads") or config["num_attention_heads"],
        "attention.key_length": width,
        "attention.value_length": width,
        "attention.layer_norm_rms_epsilon": config.get("rms_norm_eps", 1e-6),
        "rope.dimension_count": rope.width,
        **rope_metadata(rope),
    }


def _short(number: float) -> float:
    """A float32 written as the shortest decimal that is the same float32: 1e-06, not 9.999999974752427e-07."""
    import numpy as np

    return float(str(np.float32(number)))


def rope_parameters(keys: Keys) -> dict[str, Any]:
    """config.json's `rope_parameters`. Factors for each pair become LongRoPE with the same factors at any length."""
    settings: dict[str, Any] = {"rope_theta": _short(keys.get("rope.freq_base", 10_000.0)), "rope_type": "default"}
    kind = keys.get("rope.scaling.type", "none")
    if keys.rope_factors is not None:
        factors = list(keys.rope_factors)
        return {**settings, "rope_type": "longrope", "attention_factor": 1.0, "factor": 1.0,
                "short_factor": factors, "long_factor": factors}  # fmt: skip
    if kind == "none":
        return settings
    if kind not in ("linear", "yarn"):
        raise ValueError(f"rope.scaling.type {kind} (known: none, linear, yarn)")
    settings |= {"rope_type": kind, "factor": _short(keys["rope.scaling.factor"])}
    trained = keys.get("rope.scaling.original_context_length")
    return settings | ({"original_max_position_embeddings": trained} if trained else {})


def rope_metadata(rope: Rope) -> dict[str, Any]:
    """Raises ValueError for a scaling llama.cpp has no keys for."""
    found: dict[str, Any] = {"rope.freq_base": rope.theta}
    if rope.kind in ("default", "llama3") or _same_factors(rope):
        return found
    if rope.kind == "linear":
        return {**found, "rope.scaling.type": "linear", "rope.scaling.factor": float(rope.settings["factor"])}
    if rope.kind != "yarn":
        raise ValueError(f"rope_type {rope.kind} (known to llama.cpp: default, linear, yarn, llama3)")
    only(
        rope.settings, truncate=True, mscale=None, mscale_all_dim=None, attention_factor=None, beta_fast=32, beta_slow=1
    )
    return {
        **found,
        "rope.scaling.type": "yarn",
        "rope.scaling.factor": float(rope.settings["factor"]),
        "rope.scaling.original_context_length": rope.settings["original_max_position_embeddings"],
    }


def _same_factors(rope: Rope) -> bool:
    """LongRoPE with one set of factors and no attention factor is what `rope_freqs` says."""
    settings = rope.settings
    same = settings.get("short_factor") == settings.get("long_factor") and settings.get("attention_factor") == 1.0
    return rope.kind == "longrope" and same


def rope_tensors(config: ModelConfig) -> dict[str, torch.Tensor]:
    """`rope_freqs`, where the rope needs it: plain frequencies divided by the ones in use."""
    rope = rope_from(config, head_width(config))
    if rope.kind != "llama3" and not _same_factors(rope):
        return {}
    plain = Rope(rope.width, rope.theta).known.values
    return {ROPE_FACTORS: plain / rope.known.values}
