"""The loop's optimizer: AdamW equals torch's, matrices of the blocks go to Muon, its state comes back bit by bit."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn
from toy import small_decoder

from hanlin.core.model.decoder import Decoder
from hanlin.core.run.errors import HanlinError
from hanlin.core.train.config import RATES, Train
from hanlin.core.train.optimizer import BETAS, EPS, Optimizer
from hanlin.core.train.optimizers import adamw, known_methods, load, muon

CONFIG = Train(steps=10, matrix_rate=0.02, embedding_rate=0.006)


class OnlyOthers(nn.Module):
    """Nothing that Muon would take: an embedding outside the blocks, vectors inside and outside of them."""

    def __init__(self) -> None:
        super().__init__()
        self.embed_tokens = nn.Embedding(7, 4)
        self.layers = nn.ParameterList([nn.Parameter(torch.ones(4))])
        self.norm = nn.Parameter(torch.ones(4))


def set_gradients(model: nn.Module, seed: int) -> None:
    random = torch.Generator().manual_seed(seed)
    for parameter in model.parameters():
        parameter.grad = torch.randn(parameter.shape, generator=random).to(parameter.dtype)


def test_adamw_equals_torch_after_ten_steps() -> None:
    torch.manual_seed(0)
    model, theirs = OnlyOthers(), OnlyOthers()
    theirs.load_state_dict(model.state_dict())
    ours = Optimizer(model, CONFIG)
    reference = torch.optim.AdamW(theirs.parameters(), betas=BETAS, eps=EPS, weight_decay=0.0)
    for step in range(10):
        scale = 1 - step / 10
        set_gradients(model, step)
        set_gradients(theirs, step)
        reference.param_groups[0]["lr"] = 0.006 * scale
        reference.step()
        ours.step(scale)
    for mine, other in zip(model.parameters(), theirs.parameters()):
        assert torch.allclose(mine, other, atol=1e-6, rtol=0)


def test_block_matrices_go_to_muon_and_the_rest_to_adamw() -> None:
    optimizer = Optimizer(small_decoder(), CONFIG)
    by_muon = {name for group in optimizer.groups if group.method is muon for name in group.names}
    others = {name for group in optimizer.groups if group.method is adamw for name in group.names}
    assert by_muon.isdisjoint(others) and by_muon | others == set(optimizer.parameters)
    assert all(name.startswith("layers.") and name.endswith("proj.weight") for name in by_muon)
    assert "embed_tokens.weight" in others


def test_one_method_for_everything_with_two_rates() -> None:
    optimizer = Optimizer(small_decoder(), Train(steps=1, optimizer="lion", matrix_rate=0.1, embedding_rate=0.2))
    rates = {name: group.rate for group in optimizer.groups for name in group.names}
    assert rates["embed_tokens.weight"] == rates["norm.weight"] == 0.2
    assert rates["layers.0.mlp.up_proj.weight"] == 0.1


def test_single_parameters_have_rates_of_their_own() -> None:
    own = {"layers.0.mlp.up_proj.weight": 0.7, "norm.weight": 0.9}
    optimizer = Optimizer(small_decoder(), CONFIG, own)
    rates = {name: group.rate for group in optimizer.groups for name in group.names}
    assert {name: rates[name] for name in own} == own and sorted(rates) == sorted(optimizer.parameters)


def test_the_rates_of_the_options_are_those_of_the_methods() -> None:
    assert {name: load(name).RATE for name in known_methods()} == RATES


def test_a_long_gradient_is_shortened_and_its_norm_reported() -> None:
    """With plain SGD the step is the gradient: clipped, it is as long as the limit."""
    model = small_decoder()
    optimizer = Optimizer(model, Train(steps=1, optimizer="sgd", matrix_rate=1.0, embedding_rate=1.0, clip=0.5))
    before = torch.cat([p.detach().flatten().clone() for p in model.parameters()])
    set_gradients(model, 0)
    assert optimizer.step(1.0) > 10
    moved = torch.cat([p.detach().flatten() for p in model.parameters()]) - before
    assert abs(float(moved.norm()) - 0.5) < 1e-3


def test_no_gradient_that_is_no_number_reaches_a_weight() -> None:
    model = small_decoder()
    optimizer = Optimizer(model, CONFIG)
    before = [p.detach().clone() for p in model.parameters()]
    set_gradients(model, 0)
    model.norm.weight.grad[0] = torch.nan
    assert math.isnan(optimizer.step(1.0))
    assert all(torch.equal(old, new) for old, new in zip(before, model.parameters()))


def test_nothing_to_train_is_said() -> None:
    with pytest.raises(HanlinError, match="No parameter of this model is trained"):
        Optimizer(small_decoder().requires_grad_(False), CONFIG)


def test_the_norm_is_that_of_all_gradients_and_they_are_cleared() -> None:
    model = small_decoder()
    optimizer = Optimizer(model, CONFIG)
    set_gradients(model, 0)
    wanted = torch.cat([p.grad.flatten() for p in model.parameters()]).norm()
    assert abs(optimizer.step(1.0) - float(wanted)) < 1e-4
    assert all(parameter.grad is None for parameter in model.parameters())


def test_a_rate_of_zero_moves_nothing() -> None:
    model = small_decoder()
    before = [parameter.detach().clone() for parameter in model.parameters()]
    set_gradients(model, 0)
    Optimizer(model, CONFIG).step(0.0)
    assert all(torch.equal(old, new) for old, new in zip(before, model.parameters()))


def test_bfloat16_weights_follow_their_float32_masters() -> None:
    """Steps too small for bfloat16 add up in the master."""
    model = small_decoder().to(torch.bfloat16)
    optimizer = Optimizer(model, Train(steps=1, matrix_rate=1e-5, embedding_rate=1e-5))
    for step in range(5):
        set_gradients(model, step)
        optimizer.step(1.0)
    for name, parameter in model.named_parameters():
        assert optimizer.masters[name].dtype == torch.float32
        assert torch.equal(parameter, optimizer.masters[name].to(torch.bfloat16))
        assert not torch.equal(optimizer.masters[name], parameter.float())


def test_float32_weights_are_their_own_masters() -> None:
    model = small_decoder()
    optimizer = Optimizer(model, CONFIG)
    assert all(optimizer.masters[name].data_ptr() == p.data_ptr() for name, p in model.named_parameters())


def test_without_masters_small_steps_still_add_up() -> None:
    """A step of a hundredth of bfloat16's spacing: rounded to nearest nothing would ever move."""
    model = small_decoder().to(torch.bfloat16)
    config = Train(steps=1, optimizer="lion", matrix_rate=2**-14, embedding_rate=2**-14, masters="none")
    optimizer = Optimizer(model, config)
    assert not optimizer.masters
    weight = model.embed_tokens.weight
    with torch.no_grad():
        weight.fill_(1.0)
    for _ in range(200):
        for parameter in model.parameters():
            parameter.grad = -torch.ones_like(parameter)
        optimizer.step(1.0)
    assert abs(float(weight.detach().float().mean()) - (1 + 200 * 2.0**-14)) < 3e-4


@pytest.mark.parametrize("method", ["adamw", "adamw8bit", "lion", "sgd", "rmsprop"])
def test_a_large_parameter_without_a_master_is_moved_in_parts(monkeypatch: pytest.MonkeyPatch, method: str) -> None:
    """To where the whole would go: other draws of rounding, so to one place of bfloat16."""

    def moved(at_once: int) -> torch.Tensor:
        monkeypatch.setattr("hanlin.core.train.optimizer.NUMBERS_AT_ONCE", at_once)
        model = nn.Module()
        model.embed_tokens = nn.Embedding(300, 20)
        torch.manual_seed(0)
        nn.init.normal_(model.embed_tokens.weight)
        model.to(torch.bfloat16)
        config = Train(steps=1, optimizer=method, embedding_rate=0.25, masters="none", clip=50.0)
        optimizer = Optimizer(model, config)
        for step in range(3):
            set_gradients(model, step)
            optimizer.step(1.0)
        return model.embed_tokens.weight.detach().float()

    whole, parts = moved(2**22), moved(1024)
    assert float((whole - parts).abs().mean()) < 0.01 and torch.allclose(whole, parts, rtol=0.05, atol=0.05)


def test_state_comes_back_bit_by_bit() -> None:
    def run(model: Decoder, optimizer: Optimizer, steps: range) -> None:
        for step in steps:
            set_gradients(model, step)
            optimizer.step(1.0)

    whole, cut, resumed = small_decoder(), small_decoder(), small_decoder(seed=9)
    run(whole, Optimizer(whole, CONFIG), range(6))
    first = Optimizer(cut, CONFIG)
    run(cut, first, range(3))
    kept = {name: tensor.clone() for name, tensor in first.tensors().items()}
    second = Optimizer(resumed, CONFIG)
    for name, tensor in second.tensors().items():
        tensor.copy_(kept[name])
    second.restored(num_steps=3)
    run(resumed, second, range(3, 6))
    for name, parameter in resumed.named_parameters():
        assert torch.equal(parameter, whole.get_parameter(name))
