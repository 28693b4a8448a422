"""AdamW: Adam's step, with weight decay beside it. Loshchilov & Hutter 2017, https://arxiv.org/abs/1711.05101.

    m ← β₁·m + (1 − β₁)·g;  v ← β₂·v + (1 − β₂)·g²
    W ← W − η·λ·W − η·m̂ / (√v̂ + ε)   with m̂ = m / (1 − β₁ᵗ), v̂ = v / (1 − β₂ᵗ)

Each number moves by itself, so a shard of a parameter moves as it does within the whole.
"""

from __future__ import annotations

import torch
from torch import Tensor

RATE = 0.003

FUSED_ON = ("cpu", "cuda")
"""Where torch does the whole step in one pass over memory."""


def new_state(weight: Tensor) -> dict[str, Tensor]:
    return {"first": torch.zeros_like(weight), "second": torch.zeros_like(weight)}


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
    moved = [(w, g, s["first"], s["second"]) for w, g, s in zip(weights, gradients, states)]
    fused = [tensors for tensors in moved if _can_be_fused(*tensors)]
    if fused:
        torch._fused_adamw_(
            [weight for weight, _, _, _ in fused],
            [gradient for _, gradient, _, _ in fused],
            [first for _, _, first, _ in fused],
            [second for _, _, _, second in fused],
            [],
            [torch.full((), float(num_steps), device=fused[0][0].device)] * len(fused),
            lr=rate,
            beta1=betas[0],
            beta2=betas[1],
            weight_decay=weight_decay,
            eps=eps,
            amsgrad=False,
            maximize=False,
        )
    for tensors in moved:
        if not _can_be_fused(*tensors):
            plain_step(*tensors, rate, num_steps, weight_decay, betas, eps)


def _can_be_fused(weight: Tensor, *others: Tensor) -> bool:
    """torch's kernel walks through the memory of all four alike and does not look whether they are laid out alike."""
    return weight.device.type in FUSED_ON and all(other.stride() == weight.stride() for other in others)


def plain_step(
    weight: Tensor,
    gradient: Tensor,
    first: Tensor,
    second: Tensor,
    rate: float,
    num_steps: int,
    weight_decay: float,
    betas: tuple[float, float],
    eps: float,
) -> None:
    """The formula, for one parameter, where there is no kernel."""
    first.lerp_(gradient, 1 - betas[0])
    second.mul_(betas[1]).addcmul_(gradient, gradient, value=1 - betas[1])
    denominator = second.sqrt().div_((1 - betas[1] ** num_steps) ** 0.5).add_(eps)
    weight.mul_(1 - rate * weight_decay)
    weight.addcdiv_(first, denominator, value=-rate / (1 - betas[0] ** num_steps))
