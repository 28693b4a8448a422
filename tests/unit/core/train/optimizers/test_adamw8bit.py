"""AdamW in 8 bits: near AdamW, small, the same whichever pieces it is worked on in. (tests/parity: bitsandbytes.)"""

from __future__ import annotations

import pytest
import torch

from hanlin.core.train.optimizers import adamw8bit


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def step(weight: torch.Tensor, gradient: torch.Tensor, state: dict[str, torch.Tensor], num_steps: int) -> None:
    adamw8bit.step([weight], [gradient], [state], 0.01, num_steps, 0.1, (0.9, 0.95), 1e-8)


def fitted_loss(optimizer: str) -> float:
    """A two-layer network learns another one's outputs: the mean squared error after 200 steps."""
    teacher = [random(64, 128, seed=1) / 8, random(128, 32, seed=2) / 11]
    weights = [random(64, 128, seed=3) / 8, random(128, 32, seed=4) / 11]
    states = [adamw8bit.new_state(weight) for weight in weights]
    parameters = [torch.nn.Parameter(weight) for weight in weights]
    reference = torch.optim.AdamW(parameters, 0.003, (0.9, 0.95), 1e-8, weight_decay=0.01)
    for number in range(1, 201):
        x = random(256, 64, seed=100 + number)
        loss = ((x @ parameters[0]).relu() @ parameters[1] - (x @ teacher[0]).relu() @ teacher[1]).square().mean()
        reference.zero_grad()
        loss.backward()
        if optimizer == "float32":
            reference.step()
        else:
            gradients = [parameter.grad for parameter in parameters]
            adamw8bit.step(weights, gradients, states, 0.003, number, 0.01, (0.9, 0.95), 1e-8)
    return float(loss.detach())


def test_it_learns_as_adamw_does():
    assert fitted_loss("8 bits") == pytest.approx(fitted_loss("float32"), rel=0.03)


def test_small_tensors_move_as_with_adamw():
    weight = random(63, 65)
    parameter = torch.nn.Parameter(weight.clone())
    reference = torch.optim.AdamW([parameter], 0.01, (0.9, 0.95), 1e-8, weight_decay=0.1)
    state = adamw8bit.new_state(weight)
    for number in range(1, 11):
        parameter.grad = random(63, 65, seed=number)
        reference.step()
        step(weight, parameter.grad, state, number)
    assert torch.allclose(weight, parameter.detach(), atol=1e-6, rtol=0)


def test_two_bytes_a_parameter():
    state = adamw8bit.new_state(random(512, 512))
    assert sum(tensor.nbytes for tensor in state.values()) / 512**2 == 2 + 2 * 4 / 256


def test_pieces_change_nothing(monkeypatch: pytest.MonkeyPatch):
    results = []
    for piece in (2**17, 512):
        monkeypatch.setattr(adamw8bit, "PIECE_ON_CPU", piece)
        weight = random(71, 73)
        state = adamw8bit.new_state(weight)
        for number in range(1, 6):
            step(weight, random(71, 73, seed=number), state, number)
        results.append((weight, *state.values()))
    assert all(torch.equal(one, other) for one, other in zip(*results))


def test_layouts_change_nothing():
    results = []
    for weight in (random(80, 70), random(80, 70).mT.contiguous().mT):
        state = adamw8bit.new_state(weight)
        for number in range(1, 4):
            gradient = random(80, 70, seed=number)
            step(weight, gradient.mT.contiguous().mT if number == 2 else gradient, state, number)
        results.append(weight)
    assert torch.equal(*results)


def test_rows_without_a_gradient_stay_where_they_are():
    """An embedding's rows of tokens that have not come yet, where a block lies inside a row."""
    weight = random(40, 256)
    before, state, gradient = weight.clone(), adamw8bit.new_state(weight), torch.zeros(40, 256)
    gradient[3] = random(256)
    for number in range(1, 4):
        adamw8bit.step([weight], [gradient], [state], 0.01, number, 0.0, (0.9, 0.95), 1e-8)
    moved = (weight != before).any(dim=1)
    assert moved.nonzero().flatten().tolist() == [3]


@pytest.mark.parametrize("size", [0.0, 1e-22, 1e-38, 1e18])
def test_gradients_of_any_size_give_finite_weights(size: float):
    weight = random(64, 64)
    state = adamw8bit.new_state(weight)
    for number in range(1, 4):
        step(weight, random(64, 64, seed=number) * size, state, number)
    assert bool(weight.isfinite().all())
