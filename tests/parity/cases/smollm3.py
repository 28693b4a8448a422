"""SmolLM3: layers without positions by interval or by list, windows in them or by `layer_types`, biases, every rope
scaling.

Not wide: the bias of keys without positions has no gradient but rounding, which grows with the width.
"""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from cases.drawing import ROPES, decoder_numbers

MODEL_TYPE = "smollm3"


@st.composite
def configs(draw: st.DrawFn) -> dict[str, Any]:
    numbers = draw(decoder_numbers(free_head_width=draw(st.booleans())))
    count, windowed = draw(st.integers(1, 4)), draw(st.booleans())
    kinds = st.lists(st.sampled_from(["full_attention", "sliding_attention"]), min_size=count, max_size=count)
    return {
        **numbers,
        "hidden_size": numbers["num_attention_heads"] * draw(st.sampled_from([8, 16])),
        "num_hidden_layers": count,
        "max_position_embeddings": draw(st.sampled_from([24, 64])),
        "no_rope_layers": draw(st.none() | st.lists(st.integers(0, 1), min_size=count, max_size=count + 1)),
        "no_rope_layer_interval": draw(st.integers(1, 4)),
        "use_sliding_window": windowed,
        "sliding_window": draw(st.integers(2, 50)),
        "layer_types": draw(st.none() | kinds) if windowed else None,
        "attention_bias": draw(st.booleans()),
        "mlp_bias": draw(st.booleans()),
        "rope_parameters": draw(ROPES),
    }
