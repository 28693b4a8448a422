"""How much of the machine a run uses: arithmetic a token, against the fastest matrix product measured here."""

from __future__ import annotations

import re
import time
from typing import Any

import torch
from torch import nn

from hanlin.core.model.adapters.lora import Adapted
from hanlin.core.model.encoder import Encoder
from hanlin.core.model.nf4 import Nf4Linear
from hanlin.core.train.batch import Batch

SIZE, TIMES = 1024, 5

OF_THE_SOURCE = re.compile(r"encoder\.|.*\.cross\.[kv]_proj")
"""Modules of an encoder-decoder that work on the source's tokens."""


def matrix_peak(dtype: torch.dtype, device: torch.device) -> float:
    """FLOP/s of the fastest of a few products of two square matrices. Milliseconds on a GPU, a tenth of a second on a
    CPU."""
    size = SIZE if device.type == "cpu" else 8 * SIZE
    left, right = (torch.randn(size, size, device=device).to(dtype) for _ in range(2))
    times = []
    for _ in range(TIMES):
        _finish(device)
        began = time.perf_counter()
        left @ right
        _finish(device)
        times.append(time.perf_counter() - began)
    return 2 * size**3 / min(times)


def _finish(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def flops_per_token(model: Any, batch: Batch) -> float:
    """Of forward and backward, for each token that is read (`batch.num_read`), in batches like this one.

    2 for each number of a matrix forward, 2 for the gradient of its input, 2 more for its own where it is trained. A
    matrix counts as often as it is used: the head for trained tokens alone, an expert for the tokens that visit it.
    What is computed again to save memory counts once.
    """
    total = 0.0
    for name, module in model.named_modules():
        uses = _uses(model, name, batch)
        for numbers, is_trained in _matrices(module):
            total += (6 if is_trained else 4) * numbers * uses
        if hasattr(module, "num_heads") and hasattr(module, "head_width"):
            keys = _keys(name, module, batch, causal=not isinstance(model, Encoder))
            total += 12 * module.num_heads * module.head_width * keys * uses
    return total


def _matrices(module: nn.Module) -> list[tuple[int, bool]]:
    """(numbers, whether they are trained) of what the module itself multiplies by. An embedding's rows are read."""
    if isinstance(module, nn.Linear | Nf4Linear):
        is_trained = isinstance(module, nn.Linear) and module.weight.requires_grad
        return [(module.in_features * module.out_features, is_trained)]
    if isinstance(module, Adapted):
        thin = [module.lora_B] if isinstance(module.base, nn.Embedding) else [module.lora_A, module.lora_B]
        return [(matrix.numel(), matrix.requires_grad) for matrix in thin]
    return []


def _uses(model: nn.Module, name: str, batch: Batch) -> float:
    """How often a module works for each token that is read."""
    if name.split(".")[0] in ("lm_head", "head"):
        return batch.num_trained / batch.num_read
    if "source_ids" in batch.extras and OF_THE_SOURCE.match(name):
        return batch.extras["source_ids"].numel() / batch.num_read
    before, experts, _ = name.partition(".experts.")
    if not experts:
        return 1.0
    mixture: Any = model.get_submodule(before)
    return mixture.top_k / len(mixture.experts)


def _keys(name: str, attention: Any, batch: Batch, causal: bool) -> float:
    """How many tokens each sees, on average."""
    length = batch.ids_BT.shape[1]
    if "source_ids" in batch.extras and (name.startswith("encoder.") or name.endswith(".cross")):
        length, causal = batch.extras["source_ids"].shape[1], False
    keys = length / 2 if causal else length
    return min(keys, getattr(attention, "window", None) or keys)
