"""A model's linear layers in another number format: a copy of the module tree, which shares what stays the same."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from hanlin.core.generate.kernels import int4
from hanlin.core.generate.kernels.bfloat16 import Bfloat16Linear
from hanlin.core.generate.kernels.choose import few_rows, turned_is_faster
from hanlin.core.generate.kernels.compiled import Programs, describe, programs_of
from hanlin.core.generate.kernels.fused import FusedBlock
from hanlin.core.generate.kernels.head import ScreenedHead
from hanlin.core.generate.kernels.int4 import Int4Linear
from hanlin.core.generate.kernels.int8 import Int8Linear
from hanlin.core.generate.kernels.linear import CodedLinear
from hanlin.core.generate.kernels.parts import Parts, can_be_taken_apart, exact
from hanlin.core.model.adapters.switched import Switched
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

    weights: one of WEIGHTS; "keep" gives back what it got. Embeddings, norms, routers and `dt_proj` stay. Blocks
    with adapters are not fused. The model that was given stays as it is. Raises HanlinError for a format that is not
    known.
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
    device = model.embed_tokens.weight.device
    turned = weights in ("int8", "auto") and turned_is_faster(device)
    if device.type != "cpu" and weights != "int4":
        if weights == "int8":
            emit("note", text="Torch has no product of 8-bit codes on a GPU: the matrices are in bfloat16.")
        weights = "bfloat16"
    if turned and not any(isinstance(module, Switched) for module in model.modules()):
        fuse(model, emit)
    for name in linears_of(model):
        parent, _, leaf = name.rpartition(".")
        linear = model.get_submodule(name)
        setattr(model.get_submodule(parent), leaf, made(linear, weights, name == HEAD, turned))
    model.tied = {}
    return replace(loaded, model=model)


def fuse(model: Any, emit: Emit) -> None:
    """Put FusedBlocks where blocks can be taken apart. What stands around them then computes in float32."""
    programs: dict[str, Programs | None] = {}
    for number, block in enumerate(model.layers):
        if can_be_taken_apart(block):
            parts = Parts(block, model.dtype)
            structure = repr(describe(parts))
            if structure not in programs:
                programs[structure] = programs_of(parts, emit)
            model.layers[number] = FusedBlock(parts, block, programs[structure])
    if programs:
        model.norm = exact(model.norm)
        model.embed_tokens = ExactEmbedding(model.embed_tokens)


class ExactEmbedding(nn.Module):
    """Rows of another embedding, given in float32."""

    def __init__(self, embedding: nn.Embedding):
        super().__init__()
        self.weight = embedding.weight
        self.num_embeddings, self.embedding_dim = self.weight.shape

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        return F.embedding(ids, self.weight).float()


def made(linear: nn.Linear, weights: str, is_head: bool, turned: bool) -> nn.Module:
    """What stands in place of a layer. 8 bits are two planes of 4, and one where one holds the matrix."""
    if weights == "bfloat16":
        return Bfloat16Linear.from_linear(linear)
    if is_head and linear.out_features >= LARGE_VOCABULARY and (turned or int4.fits(linear)):
        return ScreenedHead.from_linear(linear, turned)
    layer: CodedLinear
    if int4.fits(linear):
        layer = Int4Linear.from_linear(linear, most_planes=1 if weights == "int4" else 2)
    elif linear.weight.device.type == "cpu":
        layer = Int8Linear.from_linear(linear)
    else:
        return Bfloat16Linear.from_linear(linear)
    layer.few_rows = few_rows(layer)
    return layer


def linears_of(model: nn.Module) -> list[str]:
    """The names of those linear layers that are replaced: the head's and those inside blocks, adapters around them or
    not."""
    linears = [name for name, module in model.named_modules() if type(module) is nn.Linear]
    return [name for name in linears if _is_replaced(name.removesuffix(".base"))]


def _is_replaced(name: str) -> bool:
    return name == HEAD or (IN_A_BLOCK.search(name) is not None and not name.endswith(LEFT_ALONE))


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
