"""The loop's optimizer: AdamW equals torch's, matrices of the blocks go to Muon, its state comes back bit by bit."""

from __future__ import annotations

import torch
from torch import nn
from toy import small_decoder

from hanlin.core.model.decoder import Decoder
from hanlin.core.train.config import Train
from hanlin.core.train.optimizer import ADAM_BETAS, ADAM_EPS, Optimizer

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
    reference = torch.optim.AdamW(theirs.parameters(), betas=ADAM_BETAS, eps=ADAM_EPS, weight_decay=0.0)
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
    by_muon = {name for names in optimizer.shapes.values() for name in names}
    assert by_muon.isdisjoint(optimizer.others) and by_muon | set(optimizer.others) == set(optimizer.parameters)
    assert all(name.startswith("layers.") and name.endswith("proj.weight") for name in by_muon)
    assert "embed_tokens.weight" in optimizer.others


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


def test_state_comes_back_bit_by_bit() -> None:
    def run(model: Decoder, optimizer: Optimizer, steps: range) -> None:
        for step in steps:
            set_gradients(model, step)
            optimizer.step(1.0)

    whole, cut, resumed = small_decoder(), small_decoder(), small_decoder(seed=9)
    run(whole, Optimizer(whole, CONFIG), range(6))
    first = Optimizer(cut, CONFIG)
    run(cut, first, range(3))
    kept = {name: tensor.clone() for name, tensor in first.state().items()}
    second = Optimizer(resumed, CONFIG)
    second.restore(kept)
    assert all(torch.equal(kept[name], tensor) for name, tensor in second.state().items())
    run(resumed, second, range(3, 6))
    for name, parameter in resumed.named_parameters():
        assert torch.equal(parameter, whole.get_parameter(name))
