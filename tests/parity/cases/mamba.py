"""Mamba: state sizes, kernels, inner widths, step ranks, biases, residuals in either precision, tied or not."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

MODEL_TYPE = "mamba"


@st.composite
def configs(draw: st.DrawFn) -> dict[str, Any]:
    return {
        "vocab_size": draw(st.sampled_from([97, 320, 511])),
        "hidden_size": draw(st.sampled_from([12, 24, 37])),
        "state_size": draw(st.sampled_from([1, 4, 7, 16])),
        "num_hidden_layers": draw(st.integers(1, 3)),
        "layer_norm_epsilon": draw(st.sampled_from([1e-5, 1e-3])),
        "expand": draw(st.sampled_from([1, 2, 3])),
        "conv_kernel": draw(st.integers(1, 5)),
        "use_bias": draw(st.booleans()),
        "use_conv_bias": draw(st.booleans()),
        "hidden_act": draw(st.sampled_from(["silu", "gelu", "relu"])),
        "residual_in_fp32": draw(st.booleans()),
        "time_step_rank": draw(st.sampled_from(["auto", 1, 5])),
        # Steps a new model starts with, long enough for the scan to weigh as much as what passes it by (D).
        "time_step_min": 0.1,
        "time_step_max": 2.0,
        "tie_word_embeddings": draw(st.booleans()),
        "pad_token_id": None,
        "bos_token_id": None,
        "eos_token_id": None,
    }
