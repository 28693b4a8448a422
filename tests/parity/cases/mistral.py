"""Mistral: a window shorter or longer than the text or none, free head width, every rope scaling."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from cases.drawing import ROPES, decoder_numbers

MODEL_TYPE = "mistral"


@st.composite
def configs(draw: st.DrawFn) -> dict[str, Any]:
    return {
        **draw(decoder_numbers()),
        "max_position_embeddings": draw(st.sampled_from([24, 64])),
        "sliding_window": draw(st.none() | st.integers(2, 50)),
        "rope_parameters": draw(ROPES),
    }
