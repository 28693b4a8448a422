"""Muon: an orthogonal step, equal to the plain formula and to torch's own."""

from __future__ import annotations

import pytest
import torch

from hanlin.core.train.muon import FIVE_STEPS, muon_step, orthogonalise

SHAPES = [(64, 64), (16, 16), (24, 72), (72, 24), (8, 64)]


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


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
def test_ten_steps_equal_the_formula(monkeypatch: pytest.MonkeyPatch, rows: int, columns: int) -> None:
    monkeypatch.setattr("hanlin.core.train.muon.orthogonalise", lambda m: torch.stack([plain(x) for x in m]))
    weights = [random(rows, columns, seed=seed) for seed in (5, 6)]
    momenta = [torch.zeros(rows, columns) for _ in weights]
    wanted, memory = [w.clone() for w in weights], [m.clone() for m in momenta]
    for step in range(10):
        gradients = [random(rows, columns, seed=100 + 2 * step + place) for place in range(2)]
        muon_step(weights, gradients, momenta, rate=0.02, momentum=0.95, weight_decay=0.1)
        for place, gradient in enumerate(gradients):
            memory[place] = 0.95 * memory[place] + 0.05 * gradient
            update = plain(0.95 * memory[place] + 0.05 * gradient)
            wanted[place] *= 1 - 0.02 * 0.1
            wanted[place] -= 0.02 * max(1, rows / columns) ** 0.5 * update
    for ours, theirs in zip(weights, wanted):
        assert torch.allclose(ours, theirs, atol=1e-5)


@pytest.mark.parametrize(("rows", "columns"), SHAPES)
def test_ten_steps_equal_torch(monkeypatch: pytest.MonkeyPatch, rows: int, columns: int) -> None:
    """torch.optim.Muon has one triple for all iterations and no factor of 1.02; given those, the bits are its own."""
    own = pytest.importorskip("torch.optim._muon")
    triple = (3.4445, -4.7750, 2.0315)
    monkeypatch.setattr(
        "hanlin.core.train.muon.orthogonalise",
        lambda m: torch.stack([own._zeropower_via_newtonschulz(x, triple, 5, 1e-7) for x in m]),
    )
    weight, momentum = random(rows, columns, seed=7), torch.zeros(rows, columns)
    theirs = torch.nn.Parameter(weight.clone())
    optimizer = torch.optim.Muon([theirs], lr=0.02, momentum=0.95, weight_decay=0.1, nesterov=True)
    for step in range(10):
        gradient = random(rows, columns, seed=200 + step)
        theirs.grad = gradient.clone()
        optimizer.step()
        muon_step([weight], [gradient], [momentum], rate=0.02, momentum=0.95, weight_decay=0.1)
    assert torch.allclose(weight, theirs, atol=1e-6)


@pytest.mark.parametrize(("rows", "columns"), SHAPES)
def test_the_iteration_equals_torch_with_its_coefficients(rows: int, columns: int) -> None:
    own = pytest.importorskip("torch.optim._muon")
    triple = (3.4445, -4.7750, 2.0315)
    matrix = random(rows, columns, seed=8)
    theirs = own._zeropower_via_newtonschulz(matrix, triple, 5, 1e-7).float()
    ours = orthogonalise(matrix[None], (triple,) * 5)[0].float()
    cosine = (ours * theirs).sum() / (ours.norm() * theirs.norm())
    assert cosine > 0.995
