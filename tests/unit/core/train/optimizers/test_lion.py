"""Lion equals its formula, number by number. (torch has no Lion.)"""

from __future__ import annotations

import pytest
import torch

from hanlin.core.train.optimizers import lion


def sign(value: float) -> int:
    return (value > 0) - (value < 0)


def literal(weight: float, gradients: list[float], rate: float, decay: float, betas: tuple[float, float]) -> float:
    momentum = 0.0
    for gradient in gradients:
        direction = sign(betas[0] * momentum + (1 - betas[0]) * gradient)
        weight = weight - rate * (direction + decay * weight)
        momentum = betas[1] * momentum + (1 - betas[1]) * gradient
    return weight


@pytest.mark.parametrize("betas", [(0.9, 0.95), (0.9, 0.99), (0.3, 0.6)])
def test_ten_steps_equal_the_formula(betas: tuple[float, float]) -> None:
    random = torch.Generator().manual_seed(0)
    weight = torch.randn(4, 3, generator=random)
    gradients = torch.randn(10, 4, 3, generator=random)
    wanted = [
        literal(w, g.tolist(), 0.01, 0.1, betas) for w, g in zip(weight.flatten().tolist(), gradients.view(10, -1).T)
    ]
    state = lion.new_state(weight)
    for number, gradient in enumerate(gradients):
        lion.step([weight], [gradient], [state], 0.01, number + 1, 0.1, betas, 0.0)
    assert torch.allclose(weight, torch.tensor(wanted).view(4, 3), atol=1e-6, rtol=0)
