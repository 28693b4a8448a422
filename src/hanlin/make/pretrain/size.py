"""The dial: depth decides everything else, as in nanochat: width 64 · depth, heads of width 64, GQA of two, SwiGLU
of three widths."""

from __future__ import annotations

from typing import Any

from hanlin.core.model.families import qwen3
from hanlin.core.run.errors import HanlinError
from hanlin.make.pretrain.config import Model

HEAD_WIDTH = 64


def decoder_config(model: Model, vocab_size: int) -> dict[str, Any]:
    """Raises HanlinError when kv_heads does not divide the heads."""
    width = model.width or HEAD_WIDTH * model.depth
    num_heads = width // HEAD_WIDTH
    num_kv_heads = model.kv_heads or (num_heads // 2 if num_heads % 2 == 0 else num_heads)
    if num_heads % num_kv_heads:
        raise HanlinError(
            f"{num_kv_heads} key/value heads can't serve {num_heads} heads.",
            f"a divisor of {num_heads}",
            "set model.kv_heads",
            "src/hanlin/make/pretrain/README.md",
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
