"""The nonlinearities of feed-forward layers, by the names configs give them."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F

Activation = Callable[[torch.Tensor], torch.Tensor]


def quick_gelu(x: torch.Tensor) -> torch.Tensor:
    """x · σ(1.702·x): the cheap approximation of Hendrycks & Gimpel 2016, https://arxiv.org/abs/1606.08415."""
    return x * torch.sigmoid(1.702 * x)


tanh_gelu: Activation = partial(F.gelu, approximate="tanh")

ACTIVATIONS: dict[str, Activation] = {
    "silu": F.silu,
    "swish": F.silu,
    "relu": F.relu,
    "gelu": F.gelu,
    "gelu_new": tanh_gelu,
    "gelu_fast": tanh_gelu,
    "gelu_pytorch_tanh": tanh_gelu,
    "quick_gelu": quick_gelu,
}


def activation(name: str) -> Activation:
    """Raises ValueError for a name no family here uses."""
    if name not in ACTIVATIONS:
        raise ValueError(f"activation {name} (known: {', '.join(ACTIVATIONS)})")
    return ACTIVATIONS[name]
