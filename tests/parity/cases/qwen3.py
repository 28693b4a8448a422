"""Qwen3: QK-norm, head width free of C/H, biases, a sliding window in the upper layers."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from cases.drawing import decoder_numbers

MODEL_TYPE = "qwen3"


@st.composite
def configs(draw: st.DrawFn) -> dict[str, Any]:
    numbers = draw(decoder_numbers())
    return {
        **numbers,
        "attention_bias": draw(st.booleans()),
        "use_sliding_window": draw(st.booleans()),
        "sliding_window": draw(st.integers(2, 20)),
        "max_window_layers": draw(st.integers(0, numbers["num_hidden_layers"])),
    }
