"""RWKV-4: widths of keys and of the feed-forward free of C, states halved every 1, 2 or no layers, tied or not."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st
from transformers import PreTrainedModel

MODEL_TYPE = "rwkv"


@st.composite
def configs(draw: st.DrawFn) -> dict[str, Any]:
    return {
        "vocab_size": draw(st.sampled_from([97, 320, 511])),
        "hidden_size": draw(st.sampled_from([12, 24, 37])),
        "num_hidden_layers": draw(st.integers(2, 4)),
        "attention_hidden_size": draw(st.sampled_from([None, 16, 41])),
        "intermediate_size": draw(st.sampled_from([None, 40, 97])),
        "layer_norm_epsilon": draw(st.sampled_from([1e-5, 1e-3])),
        "rescale_every": draw(st.sampled_from([0, 1, 2, 6])),
        "tie_word_embeddings": draw(st.booleans()),
        "bos_token_id": None,
        "eos_token_id": None,
        # transformers' cache takes keys to be as wide as the model, and backward through it fails.
        "use_cache": False,
    }


def adapt(theirs: PreTrainedModel) -> PreTrainedModel:
    """In evaluation it halves weights in place and gives the gradients of what they have become; ours are those of the
    weights in the file."""
    every = theirs.config.rescale_every
    for number, block in enumerate(theirs.rwkv.blocks if every > 0 else []):
        scale = 0.5 ** (number // every)
        for weight in (block.attention.output.weight, block.feed_forward.value.weight):
            weight.register_hook(lambda gradient, scale=scale: gradient * scale)
    return theirs
