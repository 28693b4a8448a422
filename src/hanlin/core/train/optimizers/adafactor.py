"""Adafactor: the squares' average of a matrix from its rows' and columns'. Shazeer & Stern 2018, https://arxiv.org/abs/1804.04235.

    r ← β·r + (1 − β)·mean over columns of g²;  c ← β·c + (1 − β)·mean over rows of g²;  β = 1 − t^−0.8
    v = r·cᵀ / mean(r);  u = g / √v;  W ← W − η·λ·W − η·max(10⁻³, rms(W))·u / max(1, rms(u))

R + C numbers are remembered of an R × C matrix. Vectors keep v itself, stacks of matrices r and c of each. The form is
torch's (ε bounds mean(r) and √v from below) except that η alone is the rate: torch's also never exceeds 1/√t, a second
schedule beneath the loop's. Needs whole parameters: rows, columns and rms are not those of a shard.
"""

from __future__ import annotations

import torch
from torch import Tensor

RATE = 0.03

DECAY_EXPONENT = -0.8

SMALLEST_SIZE = 1e-3
"""A weight that starts at zero moves as if its root mean square were this."""


def new_state(weight: Tensor) -> dict[str, Tensor]:
    if weight.ndim < 2:
        return {"second": torch.zeros_like(weight)}
    *stack, rows, columns = weight.shape
    return {"rows": weight.new_zeros(*stack, rows, 1), "columns": weight.new_zeros(*stack, 1, columns)}


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
    fresh = num_steps**DECAY_EXPONENT
    for weight, gradient, state in zip(weights, gradients, states):
        update = _update(weight, gradient, state, fresh, eps)
        weight.mul_(1 - rate * weight_decay).sub_(update.mul_(rate))
        del update  # before the next one is made


def _update(weight: Tensor, gradient: Tensor, state: dict[str, Tensor], fresh: float, eps: float) -> Tensor:
    """max(10⁻³, rms(W))·u / max(1, rms(u)). No number leaves the device."""
    update = _squares(gradient, state, fresh, eps).clamp_(min=eps * eps).rsqrt_().mul_(gradient)
    return update.mul_(_rms(weight).clamp_(min=SMALLEST_SIZE) / _rms(update).clamp_(min=1.0))


def _squares(gradient: Tensor, state: dict[str, Tensor], fresh: float, eps: float) -> Tensor:
    """The estimate v, a new tensor."""
    if gradient.ndim < 2:
        return state["second"].lerp_(gradient.square(), fresh).clone()
    rows, columns = state["rows"], state["columns"]
    for average, dim in ((rows, -1), (columns, -2)):
        norm = torch.linalg.vector_norm(gradient, dim=dim, keepdim=True)
        average.lerp_(norm.square_().div_(gradient.shape[dim]), fresh)
    return (rows @ columns).div_(rows.mean(dim=-2, keepdim=True).clamp_(min=eps))


def _rms(tensor: Tensor) -> Tensor:
    return torch.linalg.vector_norm(tensor).div_(tensor.numel() ** 0.5)
