"""float8 products on GPUs that have them (Hopper and later): inputs and weights of each matrix product are scaled to
fit eight bits, the sums stay wide. Micikevicius et al. 2022, https://arxiv.org/abs/2209.05433. torchao does it."""

from __future__ import annotations

import torch
from torch import nn

from hanlin.core.run.errors import HanlinError

MULTIPLE = 16
"""Float8 products want sizes that divide by this."""


def use_float8(model: nn.Module) -> None:
    """Exchange the linear layers inside the blocks for torchao's, in place. Raises HanlinError where the machine or
    torchao is missing."""
    if not torch.cuda.is_available() or torch.cuda.get_device_capability() < (8, 9):
        raise HanlinError(
            "dtype=float8, but no GPU here multiplies float8.",
            "an NVIDIA GPU of compute capability 8.9 or higher (Ada, Hopper, Blackwell)",
            "train.dtype=bfloat16",
            "docs/training.md",
        )
    try:
        from torchao.float8 import convert_to_float8_training
    except ImportError:
        raise HanlinError(
            "dtype=float8 needs torchao.", "the package torchao", "pip install torchao", "docs/training.md"
        ) from None

    def fits(module: nn.Module, name: str) -> bool:
        if "layers." not in name or not isinstance(module, nn.Linear):
            return False
        return module.in_features % MULTIPLE == 0 and module.out_features % MULTIPLE == 0

    convert_to_float8_training(model, module_filter_fn=fits)
