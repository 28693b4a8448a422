"""Low-rank adaptation: a matrix W stays, and the product of two thin ones learns beside it. Hu et al. 2021,
https://arxiv.org/abs/2106.09685.

    y = W·x + b + scale·B·A·x        A (r, in), B (out, r), scale = α/r

rsLoRA has scale = α/√r, so that high ranks learn no slower: Kalajdzievski 2023, https://arxiv.org/abs/2312.03732.
An embedding is the matrix Eᵀ (C, V) of tokens written as one-hot vectors, so its A is (r, V) and its B is (C, r).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from hanlin.core.model.nf4 import Nf4Linear


@dataclass(frozen=True)
class Adapter:
    """What is learned beside one matrix: lora_A (r, in), lora_B (out, r); magnitude (out,) with DoRA (see dora.py)."""

    lora_A: torch.Tensor
    lora_B: torch.Tensor
    scale: float
    magnitude: torch.Tensor | None = None

    @property
    def rank(self) -> int:
        return self.lora_A.shape[0]


class Around(nn.Module):
    """A frozen module and what stands beside it. Asked for its numbers and its shape, it answers as the frozen one."""

    def __init__(self, base: nn.Module):
        super().__init__()
        self.base: Any = base

    @property
    def weight(self) -> torch.Tensor:
        return self.base.weight

    @property
    def bias(self) -> torch.Tensor | None:
        return self.base.bias

    @property
    def in_features(self) -> int:
        return self.base.in_features

    @property
    def out_features(self) -> int:
        return self.base.out_features

    @property
    def num_embeddings(self) -> int:
        return self.base.num_embeddings

    @property
    def embedding_dim(self) -> int:
        return self.base.embedding_dim


class Adapted(Around):
    """A frozen module and the adapter beside it."""

    def __init__(self, base: nn.Module, adapter: Adapter, dropout: float = 0.0):
        super().__init__(base)
        self.lora_A, self.lora_B = nn.Parameter(adapter.lora_A), nn.Parameter(adapter.lora_B)
        if adapter.magnitude is not None:
            self.magnitude = nn.Parameter(adapter.magnitude)
        self.scale, self.dropout = adapter.scale, dropout

    def adapter(self) -> Adapter:
        magnitude = getattr(self, "magnitude", None)
        return Adapter(
            self.lora_A.detach(), self.lora_B.detach(), self.scale, None if magnitude is None else magnitude.detach()
        )

    def extra_repr(self) -> str:
        return f"rank={self.lora_A.shape[0]}, scale={self.scale:g}, dropout={self.dropout:g}"


class LoraLinear(Adapted):
    """Beside a linear layer, or whatever behaves like one."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x_NI = x.flatten(0, -2)
        y_NO = add_low_rank_(self.base(x_NI), F.dropout(x_NI, self.dropout, self.training), self)
        return y_NO.unflatten(0, x.shape[:-1])


class LoraEmbedding(Adapted):
    """Beside an embedding. Dropout is for linear layers."""

    def forward(self, ids_BT: torch.Tensor) -> torch.Tensor:
        return self.base(ids_BT) + low_rank_rows(ids_BT, self)


def add_low_rank_(y_NO: torch.Tensor, x_NI: torch.Tensor, adapted: Adapted) -> torch.Tensor:
    """y + scale·B·A·x, written into y. Beside x, which the layer's neighbours read too, only r numbers a token are kept
    for the gradient, and B·A·x is never a tensor of its own."""
    h_NR = F.linear(x_NI, adapted.lora_A)
    return y_NO.addmm_(h_NR, adapted.lora_B.mT, alpha=adapted.scale)


def low_rank_rows(ids_BT: torch.Tensor, adapted: Adapted) -> torch.Tensor:
    """scale·B·A of tokens, (B, T, C). A padding token's column of A is not trained, as its row of E is not."""
    h_BTR = F.embedding(ids_BT, adapted.lora_A.mT, adapted.base.padding_idx)
    return F.linear(h_BTR * adapted.scale, adapted.lora_B)


def matrix_of(base: nn.Module) -> torch.Tensor:
    """W (out, in) in float32: of 4 bits what they stand for, of an embedding Eᵀ."""
    if isinstance(base, Nf4Linear):
        return _dense(base)
    weight: Any = base.weight
    return weight.detach().float().mT if isinstance(base, nn.Embedding) else weight.detach().float()


@torch.compiler.disable  # its tables are Python's
def _dense(base: Nf4Linear) -> torch.Tensor:
    return base.dequantized(torch.float32)


def changed(weight: torch.Tensor, adapter: Adapter) -> torch.Tensor:
    """W + scale·B·A in float32, (out, in)."""
    return torch.addmm(weight.float(), adapter.lora_B.float(), adapter.lora_A.float(), alpha=adapter.scale)
