"""Qwen3-MoE: mixtures in all, some or no layers, weights normalised or not, a window in all layers."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from cases.drawing import decoder_numbers
from cases.mixtral import EXPERT_WIDTHS

MODEL_TYPE = "qwen3_moe"


@st.composite
def configs(draw: st.DrawFn) -> dict[str, Any]:
    num_experts = draw(st.integers(1, 7))
    numbers = draw(decoder_numbers())
    return {
        **numbers,
        "num_experts": num_experts,
        "num_experts_per_tok": draw(st.integers(1, num_experts)),
        "norm_topk_prob": draw(st.booleans()),
        "moe_intermediate_size": draw(EXPERT_WIDTHS),
        "decoder_sparse_step": draw(st.sampled_from([1, 1, 2])),
        "mlp_only_layers": draw(st.lists(st.integers(0, numbers["num_hidden_layers"] - 1), max_size=1)),
        "attention_bias": draw(st.booleans()),
        "use_sliding_window": draw(st.booleans()),
        "sliding_window": draw(st.integers(2, 20)),
    }
