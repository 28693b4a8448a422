"""A small random decoder of one family after the other, all with the same tokenizer: every way a text is kept (keys,
windows, states) and every kind of position."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig

from hanlin.core.model import families
from hanlin.core.model.pretrained import Pretrained
from hanlin.core.text.tokenizer import Tokenizer

CONTEXT = 96

_NUMBERS = {
    "hidden_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "intermediate_size": 48,
    "max_position_embeddings": CONTEXT,
}
_GPT = {"n_embd": 32, "n_layer": 3, "n_head": 4, "n_positions": CONTEXT}
_STATES = {"hidden_size": 32, "num_hidden_layers": 3, "state_size": 8, "conv_kernel": 4, "expand": 2}

CONFIGS: dict[str, tuple[str, dict[str, Any]]] = {
    "qwen3": ("qwen3", _NUMBERS),
    "gemma3": ("gemma3_text", {**_NUMBERS, "sliding_window": 10, "sliding_window_pattern": 2}),
    "gpt2": ("gpt2", _GPT),
    "bloom": ("bloom", {"hidden_size": 32, "n_layer": 3, "n_head": 4, "seq_length": CONTEXT}),
    "olmo2": ("olmo2", {key: value for key, value in _NUMBERS.items() if key != "head_dim"}),
    "mixtral": ("mixtral", {**_NUMBERS, "num_local_experts": 4, "num_experts_per_tok": 2}),
    "mamba": ("mamba", {**_STATES, "time_step_rank": 4}),
    "mamba2": ("mamba2", {**_STATES, "num_heads": 8, "head_dim": 8, "n_groups": 2, "chunk_size": 8}),
    "rwkv": ("rwkv", {"hidden_size": 32, "num_hidden_layers": 3, "rescale_every": 2}),
}
"""Family → (transformers' model type, values of its config)."""

RECURRENT = ("mamba", "mamba2", "rwkv")


def tiny_model(family: str, tokenizer: Tokenizer, seed: int = 0, num_layers: int | None = None) -> Pretrained:
    """Equal seeds, equal models. The logits are far enough apart that the likeliest token does not hang on rounding."""
    model_type, values = CONFIGS[family]
    if num_layers is not None:
        key = "n_layer" if "n_layer" in values else "num_hidden_layers"
        values = {**values, key: num_layers}
    special = {"pad_token_id": None, "bos_token_id": None, "eos_token_id": None}
    filled = AutoConfig.for_model(model_type, vocab_size=tokenizer.vocab_size, **special, **values)
    module = importlib.import_module(f"{families.__name__}.{family}")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = module.build(json.loads(filled.to_json_string()))
    random = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        model.embed_tokens.weight.mul_(0.2)
        for parameter in model.parameters():
            parameter.add_(torch.empty(parameter.shape).normal_(0, 0.2, generator=random))
    model.max_positions = CONTEXT  # recurrent models have no end of their own
    return Pretrained(model.eval(), tokenizer, module, Path(family), {"eos_token_id": tokenizer.eos_id})
