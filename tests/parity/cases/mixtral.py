"""Mixtral: 1 and 2 of few experts, all of them, a sliding window shorter than the text, untied or tied."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from cases.drawing import decoder_numbers

MODEL_TYPE = "mixtral"
EXPERT_WIDTHS = st.sampled_from([12, 40, 100])
"""transformers' grouped multiplication takes multiples of 4 only."""


@st.composite
def configs(draw: st.DrawFn) -> dict[str, Any]:
    num_experts = draw(st.integers(1, 5))
    return {
        **draw(decoder_numbers()),
        "intermediate_size": draw(EXPERT_WIDTHS),
        "num_local_experts": num_experts,
        "num_experts_per_tok": draw(st.integers(1, num_experts)),
        "sliding_window": draw(st.none() | st.integers(2, 20)),
        "rope_parameters": {"rope_type": "default", "rope_theta": draw(st.sampled_from([10_000.0, 1_000_000.0]))},
    }
