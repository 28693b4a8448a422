"""Ours = theirs: parameters after ten steps of torch's optimizers, learning rates of transformers' schedules."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from transformers import optimization

from hanlin.core.train.optimizers import adafactor, adamw, muon, rmsprop, sgd
from hanlin.core.train.schedule import Schedule, rate_scale

SHAPES = ((7, 5), (5, 7), (), (6,), (3, 4, 5), (33, 65))
MATRICES = ((64, 64), (16, 16), (24, 72), (72, 24), (8, 64), (64, 8), (1, 5))
STEPS = 10
TOLERANCE = {"atol": 1e-6, "rtol": 0}

sizes_of_gradients = pytest.mark.parametrize("size", [1.0, 1e-4, 1e3])
decays = pytest.mark.parametrize("decay", [0.0, 0.1])
betas = pytest.mark.parametrize("beta", [(0.9, 0.95), (0.9, 0.999), (0.0, 0.99)])


def random(*shape: int, seed: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def rate_at(step: int, rate: float) -> float:
    """The loop gives each step a rate of its own."""
    return rate * (1 - step / (2 * STEPS))


def by_torch(make: Callable[..., torch.optim.Optimizer], rate: float, size: float, decay: float = 0.0) -> list[Tensor]:
    """Ten steps. With `decay` the weights decay beside the optimizer, which is what decoupled means."""
    weights = [nn.Parameter(random(*shape, seed=place)) for place, shape in enumerate(SHAPES)]
    optimizer = make(weights, lr=rate)
    for step in range(STEPS):
        optimizer.param_groups[0]["lr"] = rate_at(step, rate)
        for place, weight in enumerate(weights):
            weight.grad = size * random(*weight.shape, seed=100 * step + place)
            weight.data.mul_(1 - rate_at(step, rate) * decay)
        optimizer.step()
    return [weight.detach() for weight in weights]


def by_us(
    method: ModuleType, rate: float, size: float, decay: float, beta=(0.9, 0.95), eps: float = 1e-8
) -> list[Tensor]:
    weights = [random(*shape, seed=place) for place, shape in enumerate(SHAPES)]
    states = [method.new_state(weight) for weight in weights]
    for step in range(STEPS):
        gradients = [size * random(*weight.shape, seed=100 * step + place) for place, weight in enumerate(weights)]
        method.step(weights, gradients, states, rate_at(step, rate), step + 1, decay, beta, eps)
    return weights


def assert_same(ours: list[Tensor], theirs: list[Tensor]) -> None:
    assert len(ours) == len(theirs)
    for mine, other in zip(ours, theirs):
        assert torch.allclose(mine, other, **TOLERANCE)


@pytest.mark.parametrize("fused", [True, False])
@sizes_of_gradients
@decays
@betas
def test_adamw(fused: bool, size: float, decay: float, beta: tuple[float, float]) -> None:
    def make(weights, lr):
        return torch.optim.AdamW(weights, lr=lr, betas=beta, eps=1e-8, weight_decay=decay, fused=fused, foreach=False)

    assert_same(by_us(adamw, 0.01, size, decay, beta), by_torch(make, 0.01, size))


@sizes_of_gradients
@decays
def test_adafactor(size: float, decay: float) -> None:
    def make(weights, lr):
        return torch.optim.Adafactor(weights, lr=lr, eps=(1e-8, 1e-3), weight_decay=decay, foreach=False)

    assert_same(by_us(adafactor, 0.01, size, decay), by_torch(make, 0.01, size))


@pytest.mark.parametrize("size", [1.0, 1e-4])
@decays
@betas
def test_sgd(size: float, decay: float, beta: tuple[float, float]) -> None:
    def make(weights, lr):
        return torch.optim.SGD(weights, lr=lr, momentum=beta[0], nesterov=False, foreach=False)

    assert_same(by_us(sgd, 0.1, size, decay, beta), by_torch(make, 0.1, size, decay))


@sizes_of_gradients
@decays
@betas
def test_rmsprop(size: float, decay: float, beta: tuple[float, float]) -> None:
    def make(weights, lr):
        return torch.optim.RMSprop(weights, lr=lr, alpha=beta[1], eps=1e-8, foreach=False)

    assert_same(by_us(rmsprop, 0.01, size, decay, beta), by_torch(make, 0.01, size, decay))


@pytest.mark.parametrize("shape", MATRICES)
@decays
def test_muon_with_the_coefficients_of_torch(shape: tuple[int, int], decay: float) -> None:
    """torch.optim.Muon has one triple for all iterations and no headroom; both multiply in bfloat16."""
    own = pytest.importorskip("torch.optim._muon")
    triple = (own.DEFAULT_A, own.DEFAULT_B, own.DEFAULT_C)
    theirs = nn.Parameter(random(*shape, seed=1))
    weight = theirs.detach().clone()
    state = muon.new_state(weight)
    optimizer = torch.optim.Muon([theirs], lr=0.02, momentum=muon.MOMENTUM, weight_decay=decay, nesterov=True)
    for step in range(STEPS):
        gradient = random(*shape, seed=200 + step)
        theirs.grad = gradient.clone()
        optimizer.step()
        update = muon.orthogonalise(torch.stack(muon.momentum([gradient], [state])), (triple,) * 5, headroom=1.0)[0]
        muon.apply(weight, update, shape, 0.02, decay)
    assert torch.allclose(weight, theirs, **TOLERANCE)


def by_transformers(schedule: Callable[..., Any], num_steps: int) -> list[float]:
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0)
    scheduler, rates = schedule(optimizer), []
    for _ in range(num_steps + 1):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return rates


@pytest.mark.parametrize("warmup", [0.0, 0.1])
@pytest.mark.parametrize("final", [0.0, 0.1])
@pytest.mark.parametrize("schedule", ["linear", "cosine", "wsd"])
def test_schedules_of_transformers(schedule: Schedule, warmup: float, final: float) -> None:
    """After the rise, which starts a thousandth of the run earlier here."""
    num_steps = 400
    up = round(warmup * num_steps)
    if schedule == "linear":  # transformers' falls to zero
        theirs = by_transformers(
            lambda optimizer: optimization.get_linear_schedule_with_warmup(optimizer, up, num_steps), num_steps
        )
        theirs = [final + (1 - final) * rate for rate in theirs]
    elif schedule == "cosine":
        theirs = by_transformers(
            lambda optimizer: optimization.get_cosine_with_min_lr_schedule_with_warmup(
                optimizer, up, num_steps, min_lr_rate=final
            ),
            num_steps,
        )
    else:
        theirs = by_transformers(
            lambda optimizer: optimization.get_wsd_schedule(
                optimizer, up, 100, num_training_steps=num_steps, decay_type="linear", min_lr_ratio=final
            ),
            num_steps,
        )
    ours = [rate_scale(step / num_steps, schedule, warmup, 100 / num_steps, final) for step in range(num_steps + 1)]
    assert ours[up:] == pytest.approx(theirs[up:], abs=1e-9)
