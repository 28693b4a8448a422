"""The dial: depth decides everything else, as in nanochat: width 64 · depth, heads of width 64, GQA of two, SwiGLU
of three widths. An encoder (BERT) has a head for each key and GELU of four widths; an encoder-decoder (T5) is two
stacks of this depth."""

from __future__ import annotations

from typing import Any

from hanlin.core.model.families import bert, qwen3, t5
from hanlin.core.run.errors import HanlinError
from hanlin.core.text.tokenizer import Tokenizer
from hanlin.make.pretrain.config import Model

HEAD_WIDTH = 64
MORE = "src/hanlin/make/pretrain/README.md"


def decoder_config(model: Model, vocab_size: int) -> dict[str, Any]:
    """Raises HanlinError when kv_heads does not divide the heads."""
    width = width_of(model)
    num_heads = width // HEAD_WIDTH
    num_kv_heads = model.kv_heads or (num_heads // 2 if num_heads % 2 == 0 else num_heads)
    if num_heads % num_kv_heads:
        raise HanlinError(
            f"{num_kv_heads} key/value heads can't serve {num_heads} heads.",
            f"a divisor of {num_heads}",
            "set model.kv_heads",
            MORE,
        )
    return qwen3.new_config(
        vocab_size=vocab_size,
        width=width,
        num_layers=model.depth,
        num_heads=num_heads,
        num_kv_heads=num_kv_heads,
        head_width=HEAD_WIDTH,
        hidden=model.hidden or 3 * width,
        max_positions=model.context,
        rope_theta=model.rope_theta,
    )


def encoder_config(model: Model, tokenizer: Tokenizer) -> dict[str, Any]:
    _refuse_decoder_options(model, "BERT")
    width = width_of(model)
    return bert.new_config(
        vocab_size=tokenizer.vocab_size,
        width=width,
        num_layers=model.depth,
        num_heads=width // HEAD_WIDTH,
        hidden=model.hidden or 4 * width,
        max_positions=model.context,
        pad_id=tokenizer.pad_id,
    )


def encoder_decoder_config(model: Model, tokenizer: Tokenizer) -> dict[str, Any]:
    """The decoder starts with the padding token, as every T5 does."""
    _refuse_decoder_options(model, "T5")
    width = width_of(model)
    return t5.new_config(
        vocab_size=tokenizer.vocab_size,
        width=width,
        num_layers=model.depth,
        num_heads=width // HEAD_WIDTH,
        head_width=HEAD_WIDTH,
        hidden=model.hidden or 3 * width,
        max_positions=model.context,
        pad_id=tokenizer.pad_id,
        stop_id=tokenizer.eos_id,
        start_id=tokenizer.pad_id,
    )


def width_of(model: Model) -> int:
    return model.width or HEAD_WIDTH * model.depth


def _refuse_decoder_options(model: Model, shape: str) -> None:
    for name in ("kv_heads", "rope_theta"):
        if getattr(model, name) != Model.model_fields[name].default:
            raise HanlinError(
                f"model.{name} is for a decoder; this objective makes a model of {shape}'s shape.",
                "model.depth, model.width, model.hidden and model.context",
                f"remove model.{name}",
                MORE,
            )
