"""Phixtral: several fine-tuned Phi-2 made one, their feed-forwards the experts of a mixture. Labonne 2024,
https://huggingface.co/mlabonne/phixtral-2x2_8; how such merges are made: Goddard et al. 2024, https://arxiv.org/abs/2403.13257.

Phi with a router that reads the normed input; the weights of the chosen experts sum to 1. transformers has no class for
it (the community's files bring their own code and call themselves Phi), so architecture, `model_type` and tensor names
are ours: Phi's, with the mixture under `moe`, and in the config `num_local_experts` and `num_experts_per_tok` besides.
"""

from __future__ import annotations

from hanlin.core.model.config import ModelConfig
from hanlin.core.model.decoder import Decoder
from hanlin.core.model.families import phi
from hanlin.core.model.mixture import Mixture
from hanlin.core.model.weights import Names

ARCHITECTURES = ("PhixtralForCausalLM",)
MODEL_TYPE = "phixtral"
SUMMARY = "Phi with a mixture of merged feed-forwards"
REFERENCE = None
"""transformers has none; tests/parity/test_phixtral.py proves it from Phi."""


def build(config: ModelConfig) -> Decoder:
    return phi.decoder(config, lambda: _mixture(config))


def _mixture(config: ModelConfig) -> Mixture:
    experts = [phi.feed_forward(config) for _ in range(config["num_local_experts"])]
    return Mixture(config["hidden_size"], experts, config["num_experts_per_tok"])


def names(config: ModelConfig) -> Names:
    return {
        **phi.NAMES,
        "layers.*.mlp.router": "model.layers.*.moe.gate",
        "layers.*.mlp.experts.*.up_proj": "model.layers.*.moe.mlp.*.fc1",
        "layers.*.mlp.experts.*.down_proj": "model.layers.*.moe.mlp.*.fc2",
    }
