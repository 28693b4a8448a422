"""Adafactor's own promises. (tests/parity has the comparison with torch's.)"""

from __future__ import annotations

import pytest
import torch

from hanlin.core.train.optimizers import adafactor


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def moved(weight: torch.Tensor, gradient: torch.Tensor, num_steps: int = 1) -> torch.Tensor:
    after = weight.clone()
    adafactor.step([after], [gradient], [adafactor.new_state(weight)], 0.01, num_steps, 0.0, (0.9, 0.95), 1e-10)
    return after


@pytest.mark.parametrize(("shape", "numbers"), [((30, 20), 50), ((4, 30, 20), 200), ((30,), 30), ((), 1)])
def test_it_remembers_rows_and_columns_alone(shape: tuple[int, ...], numbers: int) -> None:
    assert sum(state.numel() for state in adafactor.new_state(torch.ones(shape)).values()) == numbers


def test_squares_that_are_an_outer_product_are_kept_exactly() -> None:
    """|g| = a·bᵀ: each number is divided by its own size, so all move equally far."""
    gradient = random(6, 1).abs() @ random(1, 5, seed=1).abs() * random(6, 5, seed=2).sign()
    weight = random(6, 5, seed=3)
    step = weight - moved(weight, gradient)
    assert torch.allclose(step, 0.01 * weight.square().mean().sqrt() * gradient.sign(), atol=1e-6)


def test_experts_in_a_stack_share_no_rows_and_columns() -> None:
    """All but the length of the step, which is the stack's, is as for each alone."""
    weight, gradient = random(3, 6, 5), random(3, 6, 5, seed=1)
    together = weight - moved(weight, gradient)
    for place in range(3):
        alone = weight[place] - moved(weight[place], gradient[place])
        cosine = torch.nn.functional.cosine_similarity(together[place].flatten(), alone.flatten(), dim=0)
        assert float(cosine) > 1 - 1e-6


def test_the_rate_is_the_schedules_alone() -> None:
    """At step 1,000,000 torch's would be at most 1/1000."""
    weight, gradient = random(6, 5), random(6, 5, seed=1)
    step = weight - moved(weight, gradient, num_steps=1_000_000)
    assert float(step.norm() / weight.norm()) == pytest.approx(0.01, rel=1e-3)


def test_a_weight_of_zeros_moves() -> None:
    assert float(moved(torch.zeros(6, 5), random(6, 5)).square().mean().sqrt()) == pytest.approx(1e-5, rel=0.1)
