"""How much of the machine a run uses: arithmetic a token, against the fastest matrix product measured here."""

from __future__ import annotations

import time
from typing import Any

import torch
from torch import nn

SIZE, TIMES = 1024, 5


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


def flops_per_token(model: Any, context: int) -> float:
    """Of forward and backward: 2 for each number of a matrix forward, 2 for the gradient of its input, 2 more for its
    own where it is trained; of experts the share that a token visits; and the causal half of attention's products."""
    total = 0.0
    for name, module in model.named_modules():
        weight = getattr(module, "weight", None)
        if isinstance(module, nn.Linear) and weight is not None:
            share = _visited(model, name)
            total += (6 if weight.requires_grad else 4) * share * module.in_features * module.out_features
        heads, width = getattr(module, "num_heads", None), getattr(module, "head_width", None)
        if heads and width:
            total += 6 * heads * width * context
    return total


def _visited(model: nn.Module, name: str) -> float:
    before, experts, _ = name.partition(".experts.")
    if not experts:
        return 1.0
    mixture: Any = model.get_submodule(before)
    return mixture.top_k / len(mixture.experts)
