"""The output head of a large vocabulary: all logits from few bits, the likeliest again from the weights as they are.

A vocabulary of 262,144 makes the head half of a small model's work, and nearly all of it goes to tokens that won't be
drawn. So codes of 8 or 4 bits give every token's logit; the rows of the likeliest are then multiplied exactly. What is
drawn comes from exact logits; the tail keeps its share to within the codes' error.
"""

from __future__ import annotations

import torch
from torch import nn

from hanlin.core.generate.kernels.bfloat16 import Bfloat16Matrix
from hanlin.core.generate.kernels.int4 import Int4Linear, pack, planes_of
from hanlin.core.generate.kernels.turned import TurnedLinear

EXACT_OF_TURNED, EXACT_OF_INT4 = 256, 1024
"""Tokens whose logits are made again, for one row. Codes of 8 bits, turned, are off by a tenth (standard deviation, on
Gemma-3-270M), of 4 bits by six tenths; the mass behind so many tokens makes that 0.0003 and 0.005 nats."""
EXACT_OF_MANY = 32
"""For several rows, whose logits are bfloat16's: so many that no rounding decides which comes first."""
BLOCK = 64


class ScreenedHead(nn.Module):
    """y = x·Wᵀ + bias, (…, C) → (…, V) float32.

    weight: (V, C), the embedding itself where it is tied: it is not copied. screen: the same in fewer bits, for one
    row; exact: of how many tokens the logits are made again. wide: in bfloat16, for several rows.
    """

    def __init__(
        self, weight: torch.Tensor, bias: torch.Tensor | None, screen: nn.Module, exact: int, wide: Bfloat16Matrix
    ):
        super().__init__()
        self._weight, self._bias = weight, bias
        self.screen, self.exact, self.wide = screen, exact, wide
        self.out_features, self.in_features = weight.shape

    @classmethod
    def from_linear(cls, linear: nn.Linear, turned: bool) -> ScreenedHead:
        weight = linear.weight.detach()
        bias = None if linear.bias is None else linear.bias.detach().float()
        wide = Bfloat16Matrix(weight)
        if turned:
            return cls(weight, bias, TurnedLinear.of(weight), EXACT_OF_TURNED, wide)
        planes = [pack(*part) for part in planes_of(weight, 1)]
        screen = Int4Linear((weight.shape[0], weight.shape[1]), planes, None, torch.float32)
        return cls(weight, bias, screen, EXACT_OF_INT4, wide)

    @property
    def weight(self) -> torch.Tensor:
        return self._weight

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        rows_NC = x.reshape(-1, self.in_features).float()
        if len(rows_NC) == 1:
            logits_NV, exact = self.screen(rows_NC), self.exact
        else:
            logits_NV, exact = self.wide.product(rows_NC.bfloat16()).float(), EXACT_OF_MANY
        places_Nk = likeliest(logits_NV, exact)
        again_Nk = self._weight[places_Nk].float() @ rows_NC[..., None]
        logits_NV.scatter_(1, places_Nk, again_Nk[..., 0])
        if self._bias is not None:
            logits_NV += self._bias
        return logits_NV.view(*x.shape[:-1], self.out_features)


def likeliest(logits_NV: torch.Tensor, k: int) -> torch.Tensor:
    """Where each row's k largest stand, (N, k), in no order: they lie in the k blocks whose largest are largest."""
    num_blocks = logits_NV.shape[1] // BLOCK
    if num_blocks * BLOCK < logits_NV.shape[1] or num_blocks <= 2 * k:
        return logits_NV.topk(min(k, logits_NV.shape[1]), sorted=False).indices
    blocks_NMS = logits_NV.unflatten(1, (num_blocks, BLOCK))
    chosen_Nk1 = blocks_NMS.amax(-1).topk(k, sorted=False).indices[..., None]
    places_NP = (chosen_Nk1 * BLOCK + torch.arange(BLOCK, device=logits_NV.device)).flatten(1)
    within_Nk = logits_NV.gather(1, places_NP).topk(k, sorted=False).indices
    return places_NP.gather(1, within_Nk)
