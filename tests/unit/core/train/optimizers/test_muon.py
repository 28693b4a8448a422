"""Muon: an orthogonal step, equal to the plain formula. (tests/parity has the comparison with torch's.)"""

from __future__ import annotations

import pytest
import torch

from hanlin.core.train.optimizers import muon
from hanlin.core.train.optimizers.muon import FIVE_STEPS, orthogonalise

SHAPES = [(64, 64), (16, 16), (24, 72), (72, 24), (8, 64)]


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def with_spectrum(rows: int, columns: int, smallest: float) -> torch.Tensor:
    """A matrix whose singular values fall from 1 to `smallest`, evenly in their logarithms."""
    count = min(rows, columns)
    left = torch.linalg.qr(random(rows, rows, seed=1)).Q[:, :count]
    right = torch.linalg.qr(random(columns, columns, seed=2)).Q[:, :count]
    return left @ torch.diag(smallest ** (torch.arange(count) / (count - 1))) @ right.mT


def plain(matrix: torch.Tensor, steps=FIVE_STEPS) -> torch.Tensor:
    """The same iteration in float32, one matrix, as the formula reads."""
    X = matrix / (matrix.norm() * 1.02 + 1e-7)
    for a, b, c in steps:
        gram = X @ X.mT
        X = a * X + (b * gram + c * gram @ gram) @ X
    return X


@pytest.mark.parametrize(("rows", "columns"), [(24, 72), (72, 24), (8, 64)])
def test_singular_values_of_random_matrices_are_near_one(rows: int, columns: int) -> None:
    values = torch.linalg.svdvals(orthogonalise(random(5, rows, columns)).float())
    assert values.min() > 0.95 and values.max() < 1.06


@pytest.mark.parametrize(("smallest", "least"), [(1 / 100, 0.9), (1 / 500, 0.35)])
@pytest.mark.parametrize(("rows", "columns"), SHAPES)
def test_nearly_low_rank_matrices_are_lifted_too(rows: int, columns: int, smallest: float, least: float) -> None:
    matrix = with_spectrum(rows, columns, smallest)
    values = torch.linalg.svdvals(orthogonalise(matrix[None])[0].float())
    assert least < values.min() and values.max() < 1.16


def test_the_polynomial_keeps_its_band() -> None:
    """In exact arithmetic: from 1/500 of the norm upwards everything ends between 0.85 and 1.15."""
    x = torch.linspace(1 / 500, 1 / 1.02, 4000, dtype=torch.float64)
    for a, b, c in FIVE_STEPS:
        x = a * x + b * x**3 + c * x**5
    assert x.min() > 0.85 and x.max() < 1.15


@pytest.mark.parametrize(("rows", "columns"), SHAPES)
def test_equal_to_the_plain_loop(rows: int, columns: int) -> None:
    """bfloat16 carries eight bits: each entry agrees to a few hundredths of the matrix's own scale."""
    matrices = random(3, rows, columns, seed=3)
    for ours, matrix in zip(orthogonalise(matrices), matrices):
        wanted = plain(matrix.mT).mT if rows > columns else plain(matrix)
        assert (ours.float() - wanted).norm() / wanted.norm() < 0.03


def test_the_direction_is_the_nearest_orthogonal_matrix() -> None:
    matrix = random(24, 72, seed=4)
    left, _, right = torch.linalg.svd(matrix, full_matrices=False)
    ours = orthogonalise(matrix[None])[0].float()
    assert (ours * (left @ right)).sum() / (ours.norm() * (left @ right).norm()) > 0.999


def test_a_zero_gradient_moves_nothing() -> None:
    assert not orthogonalise(torch.zeros(2, 4, 6)).any()


@pytest.mark.parametrize(("rows", "columns"), SHAPES)
def test_momentum_looks_one_step_ahead(rows: int, columns: int) -> None:
    state, memory = muon.new_state(torch.empty(rows, columns)), torch.zeros(rows, columns, dtype=torch.float64)
    for step in range(10):
        gradient = random(rows, columns, seed=100 + step)
        (update,) = muon.momentum([gradient], [state])
        memory = 0.95 * memory + 0.05 * gradient
        assert torch.allclose(state["first"].double(), memory, atol=1e-6)
        assert torch.allclose(update.double(), 0.95 * memory + 0.05 * gradient, rtol=2**-8, atol=1e-6)


@pytest.mark.parametrize(("rows", "columns"), SHAPES)
def test_tall_matrices_move_further(rows: int, columns: int) -> None:
    """A shard of 4 rows, with the scale of the whole."""
    weight, update = random(rows, columns, seed=5), random(rows, columns, seed=6).bfloat16()
    shard = weight[:4].clone()
    muon.apply(shard, update[:4], (rows, columns), rate=0.02, weight_decay=0.1)
    wanted = weight * (1 - 0.02 * 0.1) - 0.02 * max(1, rows / columns) ** 0.5 * update.float()
    assert torch.allclose(shard, wanted[:4], atol=1e-6)


def one_step(weights: list[torch.Tensor], gradients: list[torch.Tensor]) -> list[torch.Tensor]:
    moved = [weight.clone() for weight in weights]
    states = [muon.new_state(weight) for weight in moved]
    muon.step(moved, gradients, states, 0.02, 1, 0.1, (0.9, 0.95), 1e-8)
    return moved


def test_a_step_is_its_three_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the order of shapes, and however many matrices go through the products at once."""
    weights = [random(*shape, seed=place) for place, shape in enumerate([*SHAPES, *SHAPES, *SHAPES])]
    gradients = [random(*weight.shape, seed=50 + place) for place, weight in enumerate(weights)]
    moved = one_step(weights, gradients)
    monkeypatch.setattr(muon, "NUMBERS_AT_ONCE", 2 * 24 * 72)
    assert all(torch.equal(one, other) for one, other in zip(moved, one_step(weights, gradients)))
    for weight, gradient, ours in zip(weights, gradients, moved):
        (update,) = muon.momentum([gradient], [muon.new_state(weight)])
        muon.apply(weight, orthogonalise(update[None])[0], weight.shape, 0.02, 0.1)
        assert torch.equal(weight, ours)
