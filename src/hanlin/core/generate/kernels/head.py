"""The output head of a large vocabulary: all logits from few bits, the likeliest again from the weights as they are.

A vocabulary of 262,144 makes the head half of a small model's work, and nearly all of it goes to tokens that won't be
drawn. So codes of 8 or 4 bits give every token's logit; the rows of the likeliest are then multiplied exactly. What is
drawn comes from exact logits; the tail keeps its share to within the codes' error.
"""

from __future__ import annotations

from typing import Protocol

import torch
from torch import nn

from hanlin.core.generate.kernels.bfloat16 import Bfloat16Matrix
from hanlin.core.generate.kernels.int4 import Int4Linear, pack, planes_of
from hanlin.core.generate.kernels.packed import PackedCodes
from hanlin.core.generate.kernels.turned import quantize, round_rows

BLOCK = 64


class Screen(Protocol):
    """All logits of rows (N, C) float32, float32 (N, V), nearly; and how many of each row's are to be made again."""

    def __call__(self, rows_NC: torch.Tensor) -> tuple[torch.Tensor, int]: ...


class TurnedScreen:
    """In 8 bits, matrix and rows turned: off by a tenth (standard deviation, on Gemma-3-270M). The mass behind the
    likeliest 128 makes that 0.0005 nats; of several rows fewer are made again, for time."""

    ONE, MANY = 128, 64

    def __init__(self, weight: torch.Tensor):
        self._codes = PackedCodes(*quantize(weight))

    def __call__(self, rows_NC: torch.Tensor) -> tuple[torch.Tensor, int]:
        rounded_NC, scale_N1 = round_rows(rows_NC)
        return self._codes.product(rounded_NC).mul_(scale_N1), self.ONE if len(rows_NC) == 1 else self.MANY


class Int4Screen:
    """In 4 bits for one row: off by six tenths, which behind the likeliest 1,024 makes 0.005 nats. In bfloat16 for
    several: again so many that no rounding decides which comes first."""

    ONE, MANY = 1024, 32

    def __init__(self, weight: torch.Tensor):
        planes = [pack(*part) for part in planes_of(weight, 1)]
        self._narrow = Int4Linear((weight.shape[0], weight.shape[1]), planes, None, torch.float32)
        self._wide = Bfloat16Matrix(weight)

    def __call__(self, rows_NC: torch.Tensor) -> tuple[torch.Tensor, int]:
        if len(rows_NC) == 1:
            return self._narrow(rows_NC), self.ONE
        return self._wide.product(rows_NC.bfloat16()).float(), self.MANY


class ScreenedHead(nn.Module):
    """y = x·Wᵀ + bias, (…, C) → (…, V) float32. weight: (V, C), the embedding itself where it is tied: not copied."""

    def __init__(self, weight: torch.Tensor, bias: torch.Tensor | None, screen: Screen):
        super().__init__()
        self._weight, self._bias, self._screen = weight, bias, screen
        self.out_features, self.in_features = weight.shape

    @classmethod
    def from_linear(cls, linear: nn.Linear, turned: bool) -> ScreenedHead:
        weight = linear.weight.detach()
        bias = None if linear.bias is None else linear.bias.detach().float()
        return cls(weight, bias, TurnedScreen(weight) if turned else Int4Screen(weight))

    @property
    def weight(self) -> torch.Tensor:
        return self._weight

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        rows_NC = x.reshape(-1, self.in_features).float()
        logits_NV, exact = self._screen(rows_NC)
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
