"""OLMo 2: norms behind the parts, over all queries and all keys; biases, head width free of C/H, every rope scaling.

Not narrower than 48: a norm of small numbers magnifies rounding in its gradient.
"""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from cases.drawing import ROPES, decoder_numbers

MODEL_TYPE = "olmo2"


@st.composite
def configs(draw: st.DrawFn) -> dict[str, Any]:
    numbers = draw(decoder_numbers(free_head_width=draw(st.booleans())))
    return {
        **numbers,
        "hidden_size": numbers["num_attention_heads"] * draw(st.sampled_from([24, 34])),
        "max_position_embeddings": draw(st.sampled_from([24, 64])),
        "attention_bias": draw(st.booleans()),
        "rope_parameters": draw(ROPES),
    }
