"""Lion: the sign of a momentum. Chen et al. 2023, https://arxiv.org/abs/2302.06675.

    u = sign(β₁·m + (1 − β₁)·g);  W ← W − η·λ·W − η·u;  m ← β₂·m + (1 − β₂)·g

Every number moves by η, so η is a fifth to a tenth of AdamW's and λ as much larger. Elementwise: a shard of a parameter
moves as it does within the whole. ε is not read.
"""

from __future__ import annotations

import torch
from torch import Tensor

RATE = 0.0005


def new_state(weight: Tensor) -> dict[str, Tensor]:
    return {"first": torch.zeros_like(weight)}


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
        weight.mul_(1 - rate * weight_decay)
        weight.add_(gradient.lerp(state["first"], betas[0]).sign_(), alpha=-rate)
        state["first"].lerp_(gradient, 1 - betas[1])
