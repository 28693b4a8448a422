"""BLOOM: head counts that are no power of two, odd widths, tied or not."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

MODEL_TYPE = "bloom"


@st.composite
def configs(draw: st.DrawFn) -> dict[str, Any]:
    num_heads = draw(st.sampled_from([1, 2, 3, 4, 5, 6, 8, 12]))
    return {
        "vocab_size": draw(st.sampled_from([97, 320, 511])),
        "hidden_size": num_heads * draw(st.sampled_from([5, 8, 12])),
        "n_layer": draw(st.integers(1, 3)),
        "n_head": num_heads,
        "layer_norm_epsilon": draw(st.sampled_from([1e-5, 1e-3])),
        "tie_word_embeddings": draw(st.booleans()),
        "pretraining_tp": draw(st.sampled_from([1, 4])),
        "pad_token_id": None,
        "bos_token_id": None,
        "eos_token_id": None,
    }
