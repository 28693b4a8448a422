"""What of a model is trained: all, all but its first blocks, its embeddings, or adapters beside frozen matrices."""

from __future__ import annotations

from typing import Any

import torch

from hanlin.core.model.adapters.attach import Lora, attach
from hanlin.core.model.nf4 import quantize_linears
from hanlin.core.model.pretrained import Pretrained
from hanlin.core.run.errors import HanlinError
from hanlin.core.text.tokenizer import IM_END, IM_START, PAD
from hanlin.shape.finetune.config import Finetune

FOUR_BIT = "nf4-double"


def choose_trained(loaded: Pretrained, config: Finetune) -> dict[str, float]:
    """Mark what is trained (requires_grad); return the learning rates of parameters that have one of their own."""
    model = loaded.model
    if config.tune == "full":
        _freeze_layers(model, config.frozen_layers)
        return {}
    if config.tune == "embeddings":
        model.requires_grad_(False)
        model.embed_tokens.requires_grad_(True)
        return {}
    if config.tune == "qlora":
        quantize_linears(model)
    trained = attach(model, loaded.family, lora_options(config), config.train.seed)
    return {name: _rate(name, config) for name in trained}


def lora_options(config: Finetune) -> Lora:
    lora = config.lora
    return Lora(lora.rank, lora.alpha, lora.dropout, lora.targets, lora.rslora, lora.dora)


def has_adapter(config: Finetune) -> bool:
    return config.tune in ("lora", "qlora")


def _rate(name: str, config: Finetune) -> float:
    """LoRA+: B learns faster than A. Hayou et al. 2024, https://arxiv.org/abs/2402.12354."""
    return config.lora.rate * (config.lora.plus_ratio if name.endswith(".lora_B") else 1.0)


def _freeze_layers(model: Any, count: int) -> None:
    if count >= len(model.layers) and count:
        raise HanlinError(
            f"frozen_layers={count}: the model has {len(model.layers)} blocks.",
            f"at most {len(model.layers) - 1}",
            "fewer frozen_layers, or tune=embeddings",
            "src/hanlin/shape/finetune/README.md",
        )
    for layer in model.layers[:count]:
        layer.requires_grad_(False)


@torch.no_grad()
def mean_initialise(loaded: Pretrained, tokens: tuple[str, ...] = (IM_START, IM_END, PAD)) -> None:
    """Pretraining never showed these tokens: softmax has only pushed them away. They begin at the mean of all
    tokens."""
    weight_VC = loaded.model.embed_tokens.weight
    mean_C = weight_VC.float().mean(0)
    for token in tokens:
        weight_VC[loaded.tokenizer.id_of(token)] = mean_C.to(weight_VC.dtype)
