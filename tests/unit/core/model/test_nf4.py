"""NF4: what the codes stand for, and a frozen linear layer that trains what stands before it and keeps no matrix."""

from __future__ import annotations

import math
import weakref

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from toy import small_decoder

from hanlin.core.model import nf4
from hanlin.core.model.adapters.lora import Adapter, LoraLinear
from hanlin.core.model.nf4 import Nf4Linear, quantize_linears

FARTHEST = (1.0 - 0.6961928009986877) / 2 + 1e-6
"""Half of NF4's widest gap."""


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def linear(in_features: int = 96, out_features: int = 40, bias: bool = True) -> nn.Linear:
    made = nn.Linear(in_features, out_features, bias=bias)
    with torch.no_grad():
        made.weight.copy_(random(out_features, in_features) * 0.1)
    return made


@given(
    shape=st.lists(st.integers(1, 21), min_size=1, max_size=3),
    double=st.booleans(),
    size=st.sampled_from([0.0, 1e-30, 1.0, 1e30]),
)
def test_what_comes_back_is_near(shape: list[int], double: bool, size: float):
    x = random(*shape) * size
    found = nf4.quantize(x, double)
    back = nf4.dequantize(found, torch.float32)
    assert back.shape == x.shape
    assert found.codes.numel() == math.ceil(x.numel() / 2)
    scales = torch.stack([block.abs().max() for block in x.flatten().split(64)]).repeat_interleave(64)[: x.numel()]
    off_by = 0.02 * scales.max() if double else 0  # 8 bits for what a scale differs from the mean
    assert bool(((back - x).flatten().abs() <= FARTHEST * scales + off_by + 1e-37).all())


def test_numbers_nf4_has_come_back_as_they_are():
    x = torch.tensor(nf4.NF4).repeat(20)[torch.randperm(320)].view(20, 16) * 3
    assert torch.equal(nf4.dequantize(nf4.quantize(x, double=False), torch.float32), x)


def test_large_tensors_are_worked_on_in_pieces_with_the_same_result(monkeypatch: pytest.MonkeyPatch):
    x = random(7, 200)
    whole = nf4.quantize(x)
    monkeypatch.setattr(nf4, "PIECE_ON_CPU", 128)
    pieces = nf4.quantize(x)
    assert all(torch.equal(getattr(whole, name), getattr(pieces, name)) for name in ("codes", "scales", "ranges"))
    by_pieces = nf4.dequantize(pieces, torch.bfloat16)
    monkeypatch.undo()
    assert torch.equal(by_pieces, nf4.dequantize(whole, torch.bfloat16))


def test_bits_a_number():
    found = nf4.quantize(random(512, 512))
    assert sum(t.nbytes for t in (found.codes, found.scales, found.ranges)) * 8 / 512**2 == pytest.approx(
        4.127, abs=1e-3
    )


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("double", [True, False])
@pytest.mark.parametrize("bias", [True, False])
def test_forward_and_gradient_are_those_of_the_dequantised_matrix(dtype: torch.dtype, double: bool, bias: bool):
    layer = linear(bias=bias).to(dtype)
    frozen = Nf4Linear.from_linear(layer, double)
    x, gradient = random(2, 5, 96).to(dtype), random(2, 5, 40, seed=1).to(dtype)
    ours, plain = x.clone().requires_grad_(), x.clone().requires_grad_()
    y = frozen(ours)
    expected = F.linear(plain, frozen.dequantized(dtype), layer.bias)
    assert torch.equal(y, expected)
    assert y.dtype == dtype
    y.backward(gradient)
    expected.backward(gradient)
    assert torch.allclose(ours.grad, plain.grad, atol=1e-6)
    assert layer.bias is None or layer.bias.grad is not None


def test_there_is_nothing_to_train_and_nothing_to_save():
    frozen = Nf4Linear.from_linear(linear())
    assert not list(frozen.parameters())
    assert not frozen.state_dict()


def test_casting_the_model_leaves_the_scales_alone():
    frozen = Nf4Linear.from_linear(linear())
    before = frozen.dequantized(torch.float32)
    assert torch.equal(frozen.bfloat16().dequantized(torch.float32), before)
    assert frozen(random(3, 96).bfloat16()).dtype == torch.bfloat16


def kept_for_the_gradient(model: nn.Module, x: torch.Tensor) -> list[int]:
    sizes: list[int] = []

    def note(tensor: torch.Tensor) -> torch.Tensor:
        sizes.append(tensor.nbytes)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        model(x).square().mean().backward()
    return sizes


@pytest.mark.filterwarnings("ignore:.*torch.jit.script_method:DeprecationWarning")  # torch's own, when it compiles
@pytest.mark.parametrize("compiled", [False, True])
def test_the_dequantised_matrix_is_not_kept(compiled: bool):
    """A compiler that sees the same matrix computed in both directions would keep it."""
    model = nn.Sequential(nn.Linear(32, 96), Nf4Linear.from_linear(linear(96, 512)), nn.Tanh())
    x = random(4, 32)
    sizes = kept_for_the_gradient(torch.compile(model, backend="aot_eager_decomp_partition") if compiled else model, x)
    assert sizes
    assert max(sizes) < 96 * 512 * 4 / 2
    gradient = model[0].weight.grad.clone()
    model.zero_grad()
    model(x).square().mean().backward()
    assert torch.allclose(gradient, model[0].weight.grad, atol=1e-6)


def test_reading_in_inference_mode_first_does_not_hinder_training():
    frozen = Nf4Linear.from_linear(linear())
    with torch.inference_mode():
        frozen(random(1, 96))
    x = random(1, 96).requires_grad_()
    frozen(x).sum().backward()
    assert x.grad is not None


@pytest.mark.parametrize("double", [True, False])
def test_qlora_is_the_dequantised_base_and_the_adapter(double: bool):
    """Forward and the gradients of A, B and x."""
    frozen = Nf4Linear.from_linear(linear(), double)
    plain = nn.Linear(96, 40)
    plain.load_state_dict({"weight": frozen.dequantized(torch.float32), "bias": frozen.bias})
    results = []
    for base in (frozen, plain):
        adapted = LoraLinear(base, Adapter(random(4, 96, seed=1) * 0.1, random(40, 4, seed=2) * 0.1, scale=2.0))
        x = random(2, 7, 96, seed=3).requires_grad_()
        y = adapted(x)
        (y * random(2, 7, 40, seed=4)).sum().backward()
        results.append((y, x.grad, adapted.lora_A.grad, adapted.lora_B.grad))
    assert all(torch.allclose(ours, theirs, atol=1e-6) for ours, theirs in zip(*results))


def test_linear_layers_of_the_blocks_are_replaced_and_let_go():
    model = small_decoder()
    original = weakref.ref(model.get_submodule("layers.0.mlp.down_proj"))
    expected = [name for name, module in model.named_modules() if type(module) is nn.Linear and name != "lm_head"]
    ids = torch.arange(20).view(2, 10)
    with torch.no_grad():
        before = model(ids)
    assert list(quantize_linears(model)) == expected
    assert original() is None
    assert type(model.lm_head) is nn.Linear
    assert all(isinstance(model.get_submodule(name), Nf4Linear) for name in expected)
    with torch.no_grad():
        after = model(ids)
    assert 0 < float((after - before).std() / before.std()) < 0.5
    cache = model.new_cache(2, 10)
    with torch.no_grad():
        one_by_one = torch.cat([model(ids[:, t : t + 1], cache) for t in range(10)], dim=1)
    assert torch.allclose(one_by_one, after, atol=1e-5)


def test_only_the_chosen_are_replaced():
    model = small_decoder()
    names = quantize_linears(model, lambda name: name.endswith("q_proj"))
    assert len(names) == 2
    assert type(model.get_submodule("layers.0.mlp.up_proj")) is nn.Linear


def test_routers_are_left_alone():
    model = nn.Module()
    model.layers = nn.ModuleList([nn.ModuleDict({"router": nn.Linear(64, 4), "up_proj": nn.Linear(64, 64)})])
    assert quantize_linears(model) == ("layers.0.up_proj",)
