"""Phi: RoPE on parts of the head, norms on queries and keys, grouped heads, scaled ropes, head width free of C/H."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from cases.drawing import ROPES, decoder_numbers

MODEL_TYPE = "phi"


@st.composite
def configs(draw: st.DrawFn) -> dict[str, Any]:
    numbers = draw(decoder_numbers())
    num_heads, normed = numbers["num_attention_heads"], draw(st.booleans())
    head_width = draw(st.sampled_from([8, 16, 24]))
    return {
        **numbers,
        "head_dim": head_width,
        # transformers' norms of queries and keys are C/H wide, whatever head_dim says.
        "hidden_size": num_heads * head_width if normed else numbers["hidden_size"],
        "layer_norm_eps": draw(st.sampled_from([1e-5, 1e-3])),
        "hidden_act": draw(st.sampled_from(["gelu_new", "gelu", "relu"])),
        "qk_layernorm": normed,
        "rope_parameters": {**draw(ROPES), "partial_rotary_factor": draw(st.sampled_from([0.5, 0.75, 1.0]))},
    }
