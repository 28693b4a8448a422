"""First values: uniform matrices of variance 1/C, zero outputs so that every block starts as the identity, small
embeddings, zero biases."""

from __future__ import annotations

import torch
from torch import nn

from hanlin.core.model.attention import Attention
from hanlin.core.model.cross_attention import CrossAttention

EMBEDDING_STD = 0.02
ZERO_AT_FIRST = ("o_proj.weight", "down_proj.weight")
"""Each block's last matrix: the residual stream begins as the token's embedding alone (Zhang et al. 2019, Fixup)."""


@torch.no_grad()
def initialise(model: nn.Module, seed: int) -> None:
    """Fill all parameters in place, from one seed, in their fixed order."""
    random = torch.Generator().manual_seed(seed)
    for name, parameter in model.named_parameters():
        if name.endswith((*ZERO_AT_FIRST, ".bias")):
            parameter.zero_()
        elif parameter.ndim == 1:
            parameter.fill_(1.0)
        elif "layers." in name:
            bound = (3.0 / parameter.shape[1]) ** 0.5
            parameter.copy_(torch.empty(parameter.shape).uniform_(-bound, bound, generator=random))
        else:
            parameter.copy_(torch.empty(parameter.shape).normal_(0, EMBEDDING_STD, generator=random))
    for module in model.modules():
        if isinstance(module, Attention | CrossAttention):
            module.q_proj.weight.div_(max(1.0, module.scale * module.head_width**0.5))  # T5 does not scale its scores
