"""RMSprop: each number's gradient over its recent size. Hinton 2012, lecture 6e,
https://www.cs.toronto.edu/~tijmen/csc321/slides/lecture_slides_lec6.pdf.

    v ← α·v + (1 − α)·g²;  W ← W − η·λ·W − η·g / (√v + ε)   with α = β₂

Weight decay is decoupled; torch.optim.RMSprop adds λ·W to g instead. Elementwise: a shard of a parameter moves as it
does within the whole. There is no momentum: β₁ is not read. v starts at zero and is not corrected for it, so the first
steps are up to 1/√(1 − α) times as long.
"""

from __future__ import annotations

import torch
from torch import Tensor

RATE = 0.001


def new_state(weight: Tensor) -> dict[str, Tensor]:
    return {"second": torch.zeros_like(weight)}


def step(
    weights: list[Tensor],
    gradients: list[Tensor],
    states: list[dict[str, Tensor]],
    rate: float,
    num_steps: int,
    weight_decay: float,
    betas: tuple[float, float],
    eps: float,
) -> None:
    for weight, gradient, state in zip(weights, gradients, states):
        state["second"].mul_(betas[1]).addcmul_(gradient, gradient, value=1 - betas[1])
        weight.mul_(1 - rate * weight_decay)
        weight.addcdiv_(gradient, state["second"].sqrt().add_(eps), value=-rate)
