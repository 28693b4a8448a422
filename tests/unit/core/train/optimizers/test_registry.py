"""What the loop relies on, of every optimizer: the three names, steps in place, no more memory than it says."""

from __future__ import annotations

import inspect
import weakref
from types import ModuleType

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from hanlin.core.run.errors import HanlinError
from hanlin.core.train.optimizers import known_methods, load

methods = pytest.mark.parametrize("method", [load(name) for name in known_methods()], ids=known_methods())
BETAS, EPS = (0.9, 0.95), 1e-10
ELEMENTWISE = ("adamw", "lion", "sgd", "rmsprop")


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def name_of(method: ModuleType) -> str:
    return method.__name__.rpartition(".")[2]


def some_weights(method: ModuleType) -> list[torch.Tensor]:
    shapes = [(6, 4), (4, 6), (6, 4)] if name_of(method) == "muon" else [(6, 4), (), (5,), (3, 4, 2), (80, 90)]
    return [random(*shape, seed=place) for place, shape in enumerate(shapes)]


def run(method: ModuleType, weights: list[torch.Tensor], states: list[dict], steps: range) -> None:
    for number in steps:
        gradients = [random(*weight.shape, seed=1000 * number + place) for place, weight in enumerate(weights)]
        method.step(weights, gradients, states, method.RATE, number + 1, 0.1, BETAS, EPS)


@methods
def test_every_file_offers_the_same_three(method: ModuleType) -> None:
    assert 0 < method.RATE < 1
    assert list(inspect.signature(method.new_state).parameters) == ["weight"]
    given = ["weights", "gradients", "states", "rate", "num_steps", "weight_decay", "betas", "eps"]
    assert list(inspect.signature(method.step).parameters) == given


@methods
def test_nothing_to_move_is_no_error(method: ModuleType) -> None:
    method.step([], [], [], 0.1, 1, 0.0, BETAS, EPS)


@methods
def test_steps_go_on_from_copied_states(method: ModuleType) -> None:
    whole = some_weights(method)
    run(method, whole, [method.new_state(weight) for weight in whole], range(6))
    cut = some_weights(method)
    states = [method.new_state(weight) for weight in cut]
    run(method, cut, states, range(3))
    copied = [{name: tensor.clone() for name, tensor in state.items()} for state in states]
    run(method, cut, copied, range(3, 6))
    assert all(torch.equal(one, other) for one, other in zip(whole, cut))


@methods
def test_the_gradients_are_left_alone(method: ModuleType) -> None:
    """The loop reads their norm, and may hold them in the parameters' own buffers."""
    weights = some_weights(method)
    gradients = [random(*weight.shape, seed=9) for weight in weights]
    before = [gradient.clone() for gradient in gradients]
    method.step(weights, gradients, [method.new_state(w) for w in weights], 0.1, 1, 0.1, BETAS, EPS)
    assert all(torch.equal(one, other) for one, other in zip(gradients, before))


@methods
def test_without_a_gradient_only_the_decay_moves(method: ModuleType) -> None:
    weights, before = some_weights(method), some_weights(method)
    gradients = [torch.zeros_like(weight) for weight in weights]
    method.step(weights, gradients, [method.new_state(w) for w in weights], 0.1, 1, 0.5, BETAS, EPS)
    for weight, old in zip(weights, before):
        assert torch.allclose(weight, old * (1 - 0.1 * 0.5), rtol=1e-6)


@methods
def test_it_goes_downhill(method: ModuleType) -> None:
    """½‖W − target‖², whose gradient is W − target."""
    weights = [random(6, 4, seed=1), random(4, 6, seed=2)]
    targets = [random(6, 4, seed=3), random(4, 6, seed=4)]
    states = [method.new_state(weight) for weight in weights]
    rate = 0.2 if name_of(method) == "adafactor" else 0.05
    before = [float((weight - target).norm()) for weight, target in zip(weights, targets)]
    for number in range(200):
        gradients = [weight - target for weight, target in zip(weights, targets)]
        method.step(weights, gradients, states, rate * (1 - number / 200), number + 1, 0.0, BETAS, EPS)
    for weight, target, far in zip(weights, targets, before):
        assert float((weight - target).norm()) < 0.3 * far


@pytest.mark.parametrize("name", ELEMENTWISE)
def test_a_shard_moves_as_it_does_within_the_whole(name: str) -> None:
    """Also the shard of a rank that got no rows."""
    method = load(name)
    whole, parts = random(7, 5), [part.clone() for part in random(7, 5).split([4, 3, 0])]
    state, states = method.new_state(whole), [method.new_state(part) for part in parts]
    for number in range(4):
        gradient = random(7, 5, seed=10 + number)
        method.step([whole], [gradient], [state], 0.01, number + 1, 0.1, BETAS, EPS)
        method.step(parts, list(gradient.split([4, 3, 0])), states, 0.01, number + 1, 0.1, BETAS, EPS)
    assert torch.allclose(torch.cat(parts), whole, atol=1e-7)


class Peak(TorchDispatchMode):
    """The most bytes that tensors made inside of it held at one time."""

    def __init__(self) -> None:
        super().__init__()
        self.held, self.most, self.seen = 0, 0, set()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        given = {t.untyped_storage()._cdata for t in tree_leaves((args, kwargs)) if isinstance(t, torch.Tensor)}
        made = func(*args, **kwargs)
        for tensor in tree_leaves(made):
            storage = tensor.untyped_storage() if isinstance(tensor, torch.Tensor) else None
            if storage is not None and storage._cdata not in given | self.seen:
                self.seen.add(storage._cdata)
                self.held += storage.nbytes()
                weakref.finalize(storage, self._freed, storage._cdata, storage.nbytes())
        self.most = max(self.most, self.held)
        return made

    def _freed(self, key: int, num_bytes: int) -> None:
        self.seen.discard(key)
        self.held -= num_bytes


@methods
def test_a_step_needs_the_memory_of_a_few_parameters(method: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 64 matrices; Muon is told to take two at once."""
    if name_of(method) == "muon":
        monkeypatch.setattr(method, "NUMBERS_AT_ONCE", 2 * 128 * 128)
    weights = [random(128, 128, seed=place) for place in range(64)]
    gradients = [random(128, 128, seed=100 + place) for place in range(64)]
    states = [method.new_state(weight) for weight in weights]
    with Peak() as peak:
        method.step(weights, gradients, states, 0.01, 1, 0.1, BETAS, EPS)
    assert peak.most < 6 * weights[0].nbytes


def test_an_unknown_name_gets_the_nearest() -> None:
    with pytest.raises(HanlinError, match='did you mean "adamw"'):
        load("adam_w")
