"""What most decoders' configs have in common, drawn so that what breaks elsewhere is met: 1, half or all key/value
heads, head widths free of C/H, odd vocabularies, tied heads, ropes beyond the trained length."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

TRAINED_LENGTH = 16
"""Of the scaled ropes: sequences in the tests are up to 40 tokens long."""


@st.composite
def decoder_numbers(draw: st.DrawFn, free_head_width: bool = True) -> dict[str, Any]:
    num_heads = draw(st.sampled_from([2, 4, 6]))
    head_width = draw(st.sampled_from([8, 16, 34]))
    width = num_heads * draw(st.sampled_from([8, 12])) if free_head_width else num_heads * head_width
    return {
        "vocab_size": draw(st.sampled_from([97, 320, 511])),
        "hidden_size": width,
        "num_hidden_layers": draw(st.integers(1, 3)),
        "num_attention_heads": num_heads,
        "num_key_value_heads": draw(st.sampled_from([1, num_heads // 2, num_heads])),
        **({"head_dim": head_width} if free_head_width else {}),
        "intermediate_size": draw(st.sampled_from([40, 97])),
        "max_position_embeddings": 64,
        "rms_norm_eps": draw(st.sampled_from([1e-6, 1e-4])),
        "tie_word_embeddings": draw(st.booleans()),
        "pad_token_id": None,
        "bos_token_id": None,
        "eos_token_id": None,
    }


ROPES: st.SearchStrategy[dict[str, Any]] = st.sampled_from(
    [
        {"rope_type": "default"},
        {"rope_type": "linear", "factor": 2.5},
        {"rope_type": "dynamic", "factor": 2.0},
        {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": TRAINED_LENGTH},
        {
            "rope_type": "yarn",
            "factor": 4.0,
            "original_max_position_embeddings": TRAINED_LENGTH,
            "beta_fast": 8.0,
            "beta_slow": 2.0,
            "truncate": False,
        },
        {
            "rope_type": "llama3",
            "factor": 8.0,
            "low_freq_factor": 1.0,
            "high_freq_factor": 4.0,
            "original_max_position_embeddings": TRAINED_LENGTH,
        },
    ]
).flatmap(lambda rope: st.sampled_from([10_000.0, 1_000_000.0]).map(lambda theta: {**rope, "rope_theta": theta}))
