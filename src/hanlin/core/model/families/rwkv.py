"""RWKV-4. Peng et al. 2023, https://arxiv.org/abs/2305.13048.

No attention: a fading average of values, and each token mixed with the one before it. The embedding is normed.
"""

from __future__ import annotations

from torch import nn

from hanlin.core.model.config import ModelConfig
from hanlin.core.model.decoder import Decoder, plain_embedding
from hanlin.core.model.entry import NormedEntry
from hanlin.core.model.families.mamba import NO_LIMIT
from hanlin.core.model.rwkv import ChannelMix, RwkvBlock, TimeMix
from hanlin.core.model.weights import Names

ARCHITECTURES = ("RwkvForCausalLM",)
MODEL_TYPE = "rwkv"
SUMMARY = "RWKV-4: a fading average instead of attention, token shift"
PREFIX = "rwkv."


def build(config: ModelConfig) -> Decoder:
    width, eps = config["hidden_size"], config["layer_norm_epsilon"]
    every = config.get("rescale_every", 6)
    layers = [
        RwkvBlock(
            attention_norm=nn.LayerNorm(width, eps),
            attention=TimeMix(width, config.get("attention_hidden_size") or width),
            mlp_norm=nn.LayerNorm(width, eps),
            mlp=ChannelMix(width, config.get("intermediate_size") or 4 * width),
            halvings=layer // every if every > 0 else 0,
            halves=every > 0 and (layer + 1) % every == 0,
        )
        for layer in range(config["num_hidden_layers"])
    ]
    return Decoder(
        config,
        plain_embedding(config["vocab_size"], width),
        layers,
        nn.LayerNorm(width),
        entry=NormedEntry(nn.LayerNorm(width, eps)),
        tied=config.get("tie_word_embeddings", False),
        max_positions=NO_LIMIT,
        embeddings_listed=False,
    )


def names(config: ModelConfig) -> Names:
    return {
        "embed_tokens": "rwkv.embeddings",
        "entry.norm": "rwkv.blocks.0.pre_ln",
        "layers.*.attention_norm": "rwkv.blocks.*.ln1",
        "layers.*.attention": "rwkv.blocks.*.attention",
        "layers.*.mlp_norm": "rwkv.blocks.*.ln2",
        "layers.*.mlp": "rwkv.blocks.*.feed_forward",
        "norm": "rwkv.ln_out",
        "lm_head": "head",
    }
