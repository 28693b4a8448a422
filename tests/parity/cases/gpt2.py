"""GPT-2: learned positions, inner width, scales, tied or not."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

MODEL_TYPE = "gpt2"


@st.composite
def configs(draw: st.DrawFn) -> dict[str, Any]:
    num_heads = draw(st.sampled_from([1, 2, 4]))
    return {
        "vocab_size": draw(st.sampled_from([97, 320, 511])),
        "n_embd": num_heads * draw(st.sampled_from([8, 12, 17])),
        "n_layer": draw(st.integers(1, 3)),
        "n_head": num_heads,
        "n_positions": 64,
        "n_inner": draw(st.sampled_from([None, 40, 97])),
        "activation_function": draw(st.sampled_from(["gelu_new", "gelu", "relu"])),
        "layer_norm_epsilon": draw(st.sampled_from([1e-5, 1e-3])),
        "scale_attn_by_inverse_layer_idx": draw(st.booleans()),
        "tie_word_embeddings": draw(st.booleans()),
        "bos_token_id": None,
        "eos_token_id": None,
    }
