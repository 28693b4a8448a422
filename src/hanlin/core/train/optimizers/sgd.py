"""Stochastic gradient descent with momentum. Robbins & Monro 1951, https://doi.org/10.1214/aoms/1177729586; momentum:
Polyak 1964, https://doi.org/10.1016/0041-5553(64)90137-5.

    m ← μ·m + g;  W ← W − η·λ·W − η·m   with μ = β₁

Weight decay is decoupled (SGDW of https://arxiv.org/abs/1711.05101); torch.optim.SGD adds λ·W to g instead.
Elementwise: a shard of a parameter moves as it does within the whole. β₂ and ε are not read.
"""

from __future__ import annotations

import torch
from torch import Tensor

RATE = 0.1


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
        state["first"].mul_(betas[0]).add_(gradient)
        weight.mul_(1 - rate * weight_decay).add_(state["first"], alpha=-rate)
