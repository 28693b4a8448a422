"""OLMo 2: norms behind the parts, over all queries and all keys; biases, free head width, every rope scaling."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from cases.drawing import ROPES, decoder_numbers

MODEL_TYPE = "olmo2"


@st.composite
def configs(draw: st.DrawFn) -> dict[str, Any]:
    return {
        **draw(decoder_numbers(free_head_width=draw(st.booleans()))),
        "max_position_embeddings": draw(st.sampled_from([24, 64])),
        "attention_bias": draw(st.booleans()),
        "rope_parameters": draw(ROPES),
    }
