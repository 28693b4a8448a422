"""Phi-3: partly turned heads, LongRoPE read within and beyond its trained length, a window or none."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from cases.drawing import TRAINED_LENGTH, decoder_numbers

MODEL_TYPE = "phi3"


@st.composite
def configs(draw: st.DrawFn) -> dict[str, Any]:
    numbers = draw(decoder_numbers(free_head_width=False))
    head_width = numbers["hidden_size"] // numbers["num_attention_heads"]
    share = draw(st.sampled_from([share for share in (0.5, 0.75, 1.0) if int(head_width * share) % 2 == 0]))
    return {
        **numbers,
        "original_max_position_embeddings": TRAINED_LENGTH,
        "partial_rotary_factor": share,
        "sliding_window": draw(st.none() | st.integers(2, 50)),
        "rope_parameters": draw(st.none() | long_ropes(int(head_width * share) // 2)),
    }


def long_ropes(num_pairs: int) -> st.SearchStrategy[dict[str, Any]]:
    factors = st.lists(st.floats(1, 30), min_size=num_pairs, max_size=num_pairs)
    needed = {"rope_type": st.just("longrope"), "short_factor": factors, "long_factor": factors}
    numbers = {"rope_theta": st.sampled_from([10_000.0, 250_000.0]), "attention_factor": st.sampled_from([1.0, 1.3])}
    return st.fixed_dictionaries(needed, optional={**numbers, "factor": st.sampled_from([2.0, 4.0])})
