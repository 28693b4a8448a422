"""Muon: momentum, then the nearest orthogonal matrix as the step. Jordan et al. 2024, https://kellerjordan.github.io/posts/muon/.

    m ← μ·m + (1 − μ)·g;  u = NewtonSchulz(μ·m + (1 − μ)·g);  W ← W − η·λ·W − η·√max(1, rows/columns)·u

The iteration X ← a·X + (b·XXᵀ + c·(XXᵀ)²)·X drives all singular values towards 1. Instead of one (a, b, c) for every
iteration, each iteration has its own, as in Amsel et al. 2025 (https://arxiv.org/abs/2505.16932).

For matrices alone. Where each process has a shard, `momentum` and `apply` work on the shard, `orthogonalise` on the
matrix that has been put together in between.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

RATE = 0.02

MOMENTUM = 0.95

Coefficients = Sequence[tuple[float, float, float]]

FIVE_STEPS: Coefficients = (
    (4.0848, -6.8946, 2.9270),
    (3.9505, -6.3029, 2.6377),
    (3.7418, -5.5913, 2.3037),
    (2.8769, -3.1427, 1.2046),
    (2.8366, -3.0525, 1.2012),
)
"""A singular value of 1/500 of the matrix's norm still reaches about 1. Three iterations lift it 45-fold only, and
learn less."""

HEADROOM = 1.02
"""Rounding to bfloat16 must not lift a singular value above 1, where the first polynomials run away."""

NUMBERS_AT_ONCE = 2**23
"""Matrices of one shape are multiplied together until they have this many numbers: about 100 MB of temporaries."""


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
    """Weights (R, C) of any shapes; those of one shape are orthogonalised together."""
    for places in _batches(weights):
        _step_of_one_shape(
            [weights[place] for place in places],
            [gradients[place] for place in places],
            [states[place] for place in places],
            rate,
            weight_decay,
        )


def _batches(weights: list[Tensor]) -> Iterator[list[int]]:
    by_shape: dict[torch.Size, list[int]] = {}
    for place, weight in enumerate(weights):
        by_shape.setdefault(weight.shape, []).append(place)
    for shape, places in by_shape.items():
        size = max(1, NUMBERS_AT_ONCE // max(1, shape.numel()))
        yield from (places[start : start + size] for start in range(0, len(places), size))


def _step_of_one_shape(
    weights: list[Tensor], gradients: list[Tensor], states: list[dict[str, Tensor]], rate: float, weight_decay: float
) -> None:
    ahead_nRC = torch.stack(momentum(gradients, states))
    for weight, update in zip(weights, orthogonalise(ahead_nRC)):
        apply(weight, update, weight.shape, rate, weight_decay)


def momentum(gradients: list[Tensor], states: list[dict[str, Tensor]]) -> list[Tensor]:
    """Moves the momenta and looks one step ahead (Nesterov); in bfloat16, as it will be multiplied. Elementwise."""
    updates = []
    for gradient, state in zip(gradients, states):
        state["first"].lerp_(gradient, 1 - MOMENTUM)
        updates.append(gradient.lerp(state["first"], MOMENTUM).bfloat16())
    return updates


def orthogonalise(matrices_nRC: Tensor, coefficients: Coefficients = FIVE_STEPS, headroom: float = HEADROOM) -> Tensor:
    """A stack of n matrices (n, R, C) → the same with singular values near 1, in bfloat16.

    Works on the wide orientation (its Gram matrix is the small one) and contiguously: the products are the cost.
    """
    X = matrices_nRC.bfloat16()
    tall = X.shape[-2] > X.shape[-1]
    if tall:
        X = X.mT.contiguous()
    X = X / (X.norm(dim=(-2, -1), keepdim=True) * headroom + 1e-7)
    for a, b, c in coefficients:
        gram = torch.bmm(X, X.mT)
        polynomial = torch.baddbmm(gram, gram, gram, beta=b, alpha=c)
        X = torch.baddbmm(X, polynomial, X, beta=a)
    return X.mT if tall else X


def apply(weight: Tensor, update: Tensor, shape: Sequence[int], rate: float, weight_decay: float) -> None:
    """Elementwise, but for the factor √max(1, rows/columns), which is of the whole matrix's shape."""
    rows, columns = shape
    weight.mul_(1 - rate * weight_decay)
    weight.add_(update.to(weight.dtype), alpha=-rate * max(1.0, rows / columns) ** 0.5)
