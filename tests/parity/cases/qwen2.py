"""Qwen2: biases on queries, keys and values; windows by layer number or by `layer_types`; every rope scaling."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from cases.drawing import ROPES, decoder_numbers

MODEL_TYPE = "qwen2"


@st.composite
def configs(draw: st.DrawFn) -> dict[str, Any]:
    numbers = draw(decoder_numbers(free_head_width=draw(st.booleans())))
    count, windowed = numbers["num_hidden_layers"], draw(st.booleans())
    kinds = st.lists(st.sampled_from(["full_attention", "sliding_attention"]), min_size=count, max_size=count)
    return {
        **numbers,
        "max_position_embeddings": draw(st.sampled_from([24, 64])),
        "use_sliding_window": windowed,
        "sliding_window": draw(st.integers(2, 50)),
        "max_window_layers": draw(st.integers(0, count)),
        "layer_types": draw(st.none() | kinds) if windowed else None,
        "rope_parameters": draw(ROPES),
    }
