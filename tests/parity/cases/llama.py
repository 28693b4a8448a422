"""Llama: grouped heads, free head width, biases, every rope scaling, read beyond the trained length."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from cases.drawing import ROPES, decoder_numbers

MODEL_TYPE = "llama"


@st.composite
def configs(draw: st.DrawFn) -> dict[str, Any]:
    return {
        **draw(decoder_numbers()),
        "attention_bias": draw(st.booleans()),
        "mlp_bias": draw(st.booleans()),
        "rope_parameters": draw(ROPES),
    }
