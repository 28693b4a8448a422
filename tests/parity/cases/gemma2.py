"""Gemma 2: soft caps on and off, scale and head width of their own, windows in turn or by `layer_types`."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from cases.drawing import ROPES, decoder_numbers

MODEL_TYPE = "gemma2"


@st.composite
def configs(draw: st.DrawFn) -> dict[str, Any]:
    numbers = draw(decoder_numbers())
    count = numbers["num_hidden_layers"]
    kinds = st.lists(st.sampled_from(["full_attention", "sliding_attention"]), min_size=count, max_size=count)
    return {
        **numbers,
        "hidden_activation": draw(st.sampled_from(["gelu_pytorch_tanh", "gelu", "silu"])),
        "attention_bias": draw(st.booleans()),
        "query_pre_attn_scalar": draw(st.sampled_from([8, 17, 64])),
        "attn_logit_softcapping": draw(st.sampled_from([None, 2.0, 50.0])),
        "final_logit_softcapping": draw(st.sampled_from([None, 3.0, 30.0])),
        "sliding_window": draw(st.integers(2, 50)),
        "layer_types": draw(st.none() | kinds),
        "rope_parameters": draw(ROPES),
    }
