"""MPT: head counts that are no power of two, ALiBi of other steepness, clipping that bites, scales, tied or not.

transformers builds feed-forwards of 4·C whatever `expansion_ratio` says, so no other ratio can be compared. And it
reads `alibi_bias_max` and forgets it: here it is handed on.
"""

from __future__ import annotations

from typing import Any

import torch
from hypothesis import strategies as st
from transformers.models.mpt.modeling_mpt import MptModel, build_mpt_alibi_tensor

MODEL_TYPE = "mpt"


def _with_its_steepness(self: MptModel, num_heads: int, length: int, _: int = 8, device: Any = None) -> torch.Tensor:
    return build_mpt_alibi_tensor(num_heads, length, self.config.attn_config.alibi_bias_max, device)


MptModel.build_mpt_alibi_tensor = _with_its_steepness


@st.composite
def configs(draw: st.DrawFn) -> dict[str, Any]:
    num_heads = draw(st.sampled_from([1, 2, 3, 4, 5, 6, 8, 12]))
    return {
        "vocab_size": draw(st.sampled_from([97, 320, 511])),
        "d_model": num_heads * draw(st.sampled_from([5, 8, 12])),
        "n_layers": draw(st.integers(1, 3)),
        "n_heads": num_heads,
        "max_seq_len": 64,
        "layer_norm_epsilon": draw(st.sampled_from([1e-5, 1e-3])),
        "norm_type": draw(st.sampled_from(["layernorm", "low_precision_layernorm"])),
        "tie_word_embeddings": draw(st.booleans()),
        "attn_config": {
            "alibi_bias_max": draw(st.sampled_from([4, 8, 16])),
            "clip_qkv": draw(st.sampled_from([None, 0.3, 6.0])),
            "softmax_scale": draw(st.sampled_from([None, 0.1, 0.7])),
        },
    }
