"""Activation checkpointing: a block keeps its input alone and is computed again for its gradient. Chen et al. 2016,
https://arxiv.org/abs/1604.06174. A third more arithmetic for memory that no longer grows with what is inside a block.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint


def keep_inputs_alone(model: nn.Module) -> None:
    """From now on, for every stack of blocks in the model."""
    stacks: list[Any] = [module for module in model.modules() if hasattr(module, "run_layer")]
    for stack in stacks:
        stack.run_layer = _Recomputed(stack)


class _Recomputed:
    """All blocks but the first, which works out what all share (angles, masks, a learned bias) once."""

    def __init__(self, stack: Any):
        self._first = next(iter(stack.layers), None) if hasattr(stack, "layers") else None

    def __call__(self, layer: nn.Module, *arguments: Any) -> torch.Tensor:
        if layer is self._first or not torch.is_grad_enabled():
            return layer(*arguments)
        return checkpoint(layer, *arguments, use_reentrant=False)
