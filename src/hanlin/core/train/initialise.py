"""First values: uniform matrices of variance 1/C, zero outputs so that every block starts as the identity, small
embeddings."""

from __future__ import annotations

import torch

from hanlin.core.model.decoder import Decoder

EMBEDDING_STD = 0.02
ZERO_AT_FIRST = ("o_proj.weight", "down_proj.weight")
"""Each block's last matrix: the residual stream begins as the token's embedding alone (Zhang et al. 2019, Fixup)."""


@torch.no_grad()
def initialise(model: Decoder, seed: int) -> None:
    """Fill all parameters in place, from one seed, in their fixed order."""
    random = torch.Generator().manual_seed(seed)
    for name, parameter in model.named_parameters():
        if parameter.ndim == 1:
            parameter.fill_(1.0)
        elif name.endswith(ZERO_AT_FIRST):
            parameter.zero_()
        elif name.startswith("layers."):
            bound = (3.0 / parameter.shape[1]) ** 0.5
            parameter.copy_(torch.empty(parameter.shape).uniform_(-bound, bound, generator=random))
        else:
            parameter.copy_(torch.empty(parameter.shape).normal_(0, EMBEDDING_STD, generator=random))
