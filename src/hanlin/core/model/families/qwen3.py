"""Qwen3. Yang et al. 2025, https://arxiv.org/abs/2505.09388: GQA, QK-norm, RMSNorm, SwiGLU, RoPE, no biases."""

from __future__ import annotations

from typing import Any

from hanlin.core.model.attention import Attention
from hanlin.core.model.decoder import Block, Decoder, DecoderShape
from hanlin.core.model.norm import RMSNorm
from hanlin.core.model.swiglu import SwiGLU

ARCHITECTURE = "Qwen3ForCausalLM"
MODEL_TYPE = "qwen3"
GGUF_ARCHITECTURE = "qwen3"


def build(shape: DecoderShape) -> Decoder:
    """A Qwen3 decoder with uninitialised values of the standard kind (see core.train.initialise)."""
    s = shape
    layers = [
        Block(
            RMSNorm(s.width, s.norm_eps),
            Attention(
                s.width,
                s.num_heads,
                s.num_kv_heads,
                s.head_width,
                RMSNorm(s.head_width, s.norm_eps),
                RMSNorm(s.head_width, s.norm_eps),
            ),
            RMSNorm(s.width, s.norm_eps),
            SwiGLU(s.width, s.hidden),
        )
        for _ in range(s.num_layers)
    ]
    return Decoder(shape, layers, RMSNorm(s.width, s.norm_eps))


def read_config(config: dict[str, Any]) -> DecoderShape:
    """config.json of transformers → shape.

    Raises KeyError for a missing number, ValueError for what this decoder has not.
    """
    rope = config.get("rope_parameters") or config.get("rope_scaling") or {}
    if rope.get("rope_type", rope.get("type", "default")) != "default":
        raise ValueError(f"rope_type {rope.get('rope_type', rope.get('type'))} (only default is known)")
    for switch in ("attention_bias", "use_sliding_window"):
        if config.get(switch):
            raise ValueError(f"{switch} true (only false is known)")
    return DecoderShape(
        vocab_size=config["vocab_size"],
        width=config["hidden_size"],
        num_layers=config["num_hidden_layers"],
        num_heads=config["num_attention_heads"],
        num_kv_heads=config["num_key_value_heads"],
        head_width=config.get("head_dim") or config["hidden_size"] // config["num_attention_heads"],
        hidden=config["intermediate_size"],
        max_positions=config["max_position_embeddings"],
        rope_theta=float(rope.get("rope_theta") or config.get("rope_theta") or 10_000.0),
        norm_eps=config["rms_norm_eps"],
        tied=config.get("tie_word_embeddings", False),
    )


def write_config(shape: DecoderShape) -> dict[str, Any]:
    """shape → config.json that transformers and vLLM read.

    `rope_theta` stands in both places: old and new readers differ.
    """
    return {
        "architectures": [ARCHITECTURE],
        "model_type": MODEL_TYPE,
        "vocab_size": shape.vocab_size,
        "hidden_size": shape.width,
        "num_hidden_layers": shape.num_layers,
        "num_attention_heads": shape.num_heads,
        "num_key_value_heads": shape.num_kv_heads,
        "head_dim": shape.head_width,
        "intermediate_size": shape.hidden,
        "max_position_embeddings": shape.max_positions,
        "rope_theta": shape.rope_theta,
        "rope_parameters": {"rope_theta": shape.rope_theta, "rope_type": "default"},
        "rms_norm_eps": shape.norm_eps,
        "tie_word_embeddings": shape.tied,
        "hidden_act": "silu",
        "attention_bias": False,
        "attention_dropout": 0.0,
        "use_sliding_window": False,
        "initializer_range": 0.02,
    }


def checkpoint_name(parameter: str) -> str:
    """Our parameter's name → its name in a transformers checkpoint."""
    return parameter if parameter.startswith("lm_head.") else f"model.{parameter}"


def gguf_name(parameter: str) -> str:
    """Our parameter's name → its name in a GGUF file (llama.cpp, src/llama-arch.cpp). No weight is permuted."""
    names = {"embed_tokens": "token_embd", "norm": "output_norm", "lm_head": "output"}
    in_block = {
        "input_layernorm": "attn_norm",
        "self_attn.q_proj": "attn_q",
        "self_attn.k_proj": "attn_k",
        "self_attn.v_proj": "attn_v",
        "self_attn.o_proj": "attn_output",
        "self_attn.q_norm": "attn_q_norm",
        "self_attn.k_norm": "attn_k_norm",
        "post_attention_layernorm": "ffn_norm",
        "mlp.gate_proj": "ffn_gate",
        "mlp.up_proj": "ffn_up",
        "mlp.down_proj": "ffn_down",
    }
    module = parameter.removesuffix(".weight")
    if not module.startswith("layers."):
        return f"{names[module]}.weight"
    _, number, part = module.split(".", 2)
    return f"blk.{number}.{in_block[part]}.weight"


def gguf_metadata(shape: DecoderShape) -> dict[str, int | float]:
    """shape → the keys under which llama.cpp looks for it. The vocabulary's size is the number of tokens stored."""
    numbers: dict[str, int | float] = {
        "block_count": shape.num_layers,
        "context_length": shape.max_positions,
        "embedding_length": shape.width,
        "feed_forward_length": shape.hidden,
        "attention.head_count": shape.num_heads,
        "attention.head_count_kv": shape.num_kv_heads,
        "attention.key_length": shape.head_width,
        "attention.value_length": shape.head_width,
        "attention.layer_norm_rms_epsilon": shape.norm_eps,
        "rope.freq_base": shape.rope_theta,
    }
    return {f"{GGUF_ARCHITECTURE}.{key}": value for key, value in numbers.items()}
