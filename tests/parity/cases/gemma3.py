"""Gemma 3: a rope for each layer type, scaled or not; scale and head width of their own; the windows' pattern by number
or by `layer_types`.

Scores not scaled up: those of normed queries and keys are large, and bfloat16 then rounds them past its bound.
"""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from cases.drawing import ROPES, decoder_numbers

MODEL_TYPE = "gemma3_text"

# transformers reads `truncate` of a rope that belongs to a layer type in the wrong place, so it is always true there.
LAYER_ROPES = ROPES.filter(lambda rope: rope["rope_type"] != "dynamic" and "truncate" not in rope)


@st.composite
def configs(draw: st.DrawFn) -> dict[str, Any]:
    numbers = draw(decoder_numbers())
    count = draw(st.integers(1, 4))
    kinds = st.lists(st.sampled_from(["full_attention", "sliding_attention"]), min_size=count, max_size=count)
    ropes = st.fixed_dictionaries({"full_attention": LAYER_ROPES, "sliding_attention": LAYER_ROPES})
    return {
        **numbers,
        "num_hidden_layers": count,
        "hidden_activation": draw(st.sampled_from(["gelu_pytorch_tanh", "gelu", "silu"])),
        "attention_bias": draw(st.booleans()),
        "query_pre_attn_scalar": draw(st.sampled_from([40, 64, 144])),
        "final_logit_softcapping": draw(st.sampled_from([None, 3.0, 30.0])),
        "sliding_window": draw(st.integers(2, 50)),
        "sliding_window_pattern": draw(st.integers(1, 4)),
        "layer_types": draw(st.none() | kinds),
        "rope_parameters": draw(st.none() | ropes),
    }
