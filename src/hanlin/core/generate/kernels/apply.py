"""A model's linear layers in another number format: a copy of the module tree, which shares what stays the same."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import torch
from torch import nn

from hanlin.core.generate.kernels import int4
from hanlin.core.generate.kernels.bfloat16 import Bfloat16Linear
from hanlin.core.generate.kernels.head import ScreenedHead
from hanlin.core.generate.kernels.int4 import Int4Linear
from hanlin.core.generate.kernels.int8 import Int8Linear
from hanlin.core.model.decoder import Decoder
from hanlin.core.model.nf4 import IN_A_BLOCK, LEFT_ALONE
from hanlin.core.model.pretrained import Pretrained
from hanlin.core.run.errors import HanlinError
from hanlin.core.run.events import Emit, silent

WEIGHTS = ("keep", "bfloat16", "int8", "int4", "auto")
HEAD = "lm_head"
LARGE_VOCABULARY = 32_768
"""From here on a head is screened."""


@torch.no_grad()
def with_weights(loaded: Pretrained, weights: str, emit: Emit = silent) -> Pretrained:
    """The model with its matrices in another format, for generation: it can't be trained or saved.

    weights: one of WEIGHTS; "keep" gives back what it got. Embeddings, norms, routers and `dt_proj` stay. The model
    that was given stays as it is. Raises HanlinError for a format that is not known.
    """
    if weights not in WEIGHTS:
        raise HanlinError(
            f"Weights in {weights} are not known.",
            f"one of {', '.join(WEIGHTS)}",
            "engine.weights=int8",
            "docs/generate.md",
        )
    if weights == "keep" or not isinstance(loaded.model, Decoder):
        return loaded
    model: Any = shared_copy(loaded.model)
    for name in linears_of(model):
        parent, _, leaf = name.rpartition(".")
        setattr(model.get_submodule(parent), leaf, made(model.get_submodule(name), weights, is_head=name == HEAD))
    model.tied = {}
    return replace(loaded, model=model)


def made(linear: nn.Linear, weights: str, is_head: bool) -> nn.Module:
    """What stands in place of a layer. 8 bits are two planes of 4, and one where one holds the matrix."""
    if weights == "bfloat16":
        return Bfloat16Linear.from_linear(linear)
    if not int4.fits(linear):
        return Int8Linear.from_linear(linear)
    if is_head and linear.out_features >= LARGE_VOCABULARY:
        return ScreenedHead.from_linear(linear)
    return Int4Linear.from_linear(linear, most_planes=1 if weights == "int4" else 2)


def linears_of(model: nn.Module) -> list[str]:
    """The names of those linear layers that are replaced: the head's and those inside blocks."""
    named = (name for name, module in model.named_modules() if type(module) is nn.Linear)
    return [name for name in named if name == HEAD or (IN_A_BLOCK.search(name) and not name.endswith(LEFT_ALONE))]


def shared_copy(model: nn.Module) -> nn.Module:
    """A module tree of its own over the same tensors and the same parts that are no modules."""
    known = {id(module): copy.copy(module) for module in model.modules()}
    for module in known.values():
        module._parameters, module._buffers = dict(module._parameters), dict(module._buffers)
        module._modules = {name: known[id(m)] if m is not None else None for name, m in module._modules.items()}
    copied: Any = known[id(model)]
    if isinstance(copied, Decoder):
        copied.body = copied.after_embedding  # bound to the copy
    return copied
