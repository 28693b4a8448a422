"""SmolLM3. Bakouch et al. 2025, https://huggingface.co/blog/smollm3.

Llama's block; every fourth layer has no positions (Yang et al. 2025, https://arxiv.org/abs/2501.18795).
"""

from __future__ import annotations

from hanlin.core.model.activations import activation
from hanlin.core.model.attention import Attention
from hanlin.core.model.block import Block
from hanlin.core.model.config import ModelConfig, head_width, layer_windows
from hanlin.core.model.decoder import Decoder, plain_embedding
from hanlin.core.model.families.llama import NAMES
from hanlin.core.model.feed_forward import GatedFeedForward
from hanlin.core.model.norm import RMSNorm
from hanlin.core.model.positions.none import NoPosition
from hanlin.core.model.positions.rope import rope_from
from hanlin.core.model.weights import Names

ARCHITECTURES = ("SmolLM3ForCausalLM",)
MODEL_TYPE = "smollm3"
SUMMARY = "Llama with no positions in every fourth layer"


def build(config: ModelConfig) -> Decoder:
    width, eps = config["hidden_size"], config.get("rms_norm_eps", 1e-6)
    num_heads, bias = config["num_attention_heads"], config.get("attention_bias", False)
    mlp_bias = config.get("mlp_bias", False)
    rope = rope_from(config, head_width(config), theta=2_000_000.0)
    layers = [
        Block(
            attention_norm=RMSNorm(width, eps),
            attention=Attention(
                width,
                num_heads,
                config["num_key_value_heads"] or num_heads,
                head_width(config),
                rope if has_rope else NoPosition(),
                bias=bias,
                out_bias=bias,
                window=window,
            ),
            mlp_norm=RMSNorm(width, eps),
            mlp=GatedFeedForward(
                width, config["intermediate_size"], activation(config.get("hidden_act", "silu")), mlp_bias
            ),
        )
        for has_rope, window in zip(_has_rope(config), _windows(config))
    ]
    return Decoder(
        config,
        plain_embedding(config["vocab_size"], width),
        layers,
        RMSNorm(width, eps),
        tied=config.get("tie_word_embeddings", True),
        max_positions=config["max_position_embeddings"],
    )


def _has_rope(config: ModelConfig) -> list[bool]:
    """Of each layer. `no_rope_layers` holds 1 for a layer with RoPE, in spite of its name. Raises ValueError when it
    is too short."""
    count, every = config["num_hidden_layers"], config.get("no_rope_layer_interval", 4)
    given = config.get("no_rope_layers")
    if given is None:
        return [(i + 1) % every != 0 for i in range(count)]
    if len(given) < count:
        raise ValueError(f"no_rope_layers {given} (one for each of {count} layers is needed)")
    return [bool(flag) for flag in given[:count]]


def _windows(config: ModelConfig) -> list[int | None]:
    """By `layer_types`, or in the layers without positions. Raises ValueError for windows that `use_sliding_window`
    turns off: transformers' kernels differ in what they make of those."""
    used = bool(config.get("use_sliding_window"))
    kinds = ["sliding_attention" if used and not rope else "full_attention" for rope in _has_rope(config)]
    windows = layer_windows({"sliding_window": None, **config}, kinds)
    if any(windows) and not used:
        raise ValueError(f"layer_types {config['layer_types']} without use_sliding_window")
    return windows


def names(config: ModelConfig) -> Names:
    return NAMES
