"""Mamba-2: heads and groups of them, state sizes, kernels, limits on the step, chunks shorter than the text."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

MODEL_TYPE = "mamba2"


@st.composite
def configs(draw: st.DrawFn) -> dict[str, Any]:
    expand, num_heads = draw(st.sampled_from([1, 2, 3])), draw(st.sampled_from([4, 6, 8]))
    head_width = expand * draw(st.sampled_from([4, 5, 8]))
    return {
        "vocab_size": draw(st.sampled_from([97, 320, 511])),
        "hidden_size": num_heads * head_width // expand,
        "num_heads": num_heads,
        "head_dim": head_width,
        # Of a head that is normed all by itself, D's gradient is nothing but rounding where the text is short.
        "n_groups": draw(st.sampled_from([1, num_heads // 2])),
        "state_size": draw(st.sampled_from([1, 4, 7, 16])),
        "num_hidden_layers": draw(st.integers(1, 3)),
        "layer_norm_epsilon": draw(st.sampled_from([1e-5, 1e-3])),
        "expand": expand,
        "conv_kernel": draw(st.integers(1, 5)),
        "use_bias": draw(st.booleans()),
        "use_conv_bias": draw(st.booleans()),
        # gelu loses digits below −3, and the norm after the scan makes what is left large.
        "hidden_act": "silu",
        "residual_in_fp32": draw(st.booleans()),
        "time_step_limit": draw(st.sampled_from([(0.0, float("inf")), (0.2, 0.9)])),
        "chunk_size": draw(st.sampled_from([3, 8, 16, 64])),
        # Steps a new model starts with, long enough for the scan to weigh as much as what passes it by (D).
        "time_step_min": 0.1,
        "time_step_max": 2.0,
        "tie_word_embeddings": draw(st.booleans()),
        "pad_token_id": None,
        "bos_token_id": None,
        "eos_token_id": None,
    }
