"""The mixture against its formula, token by token, and what routing must not do."""

from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from hanlin.core.model.feed_forward import FeedForward, GatedFeedForward
from hanlin.core.model.mixture import Mixture

C, F_WIDTH = 6, 10


def mixture(num_experts: int, top_k: int, normalised: bool = True, seed: int = 0) -> Mixture:
    torch.manual_seed(seed)
    return Mixture(C, [GatedFeedForward(C, F_WIDTH) for _ in range(num_experts)], top_k, normalised).double()


def states(batch: int = 2, length: int = 7, seed: int = 1) -> torch.Tensor:
    return torch.randn(batch, length, C, generator=torch.manual_seed(seed), dtype=torch.float64)


def plain(layer: Mixture, x_C: torch.Tensor) -> torch.Tensor:
    """Σ p_e·expert_e(x) over the chosen, for one token."""
    shares = (layer.router.weight @ x_C).softmax(-1).tolist()
    chosen = sorted(range(len(shares)), key=lambda expert: -shares[expert])[: layer.top_k]
    total = sum(shares[expert] for expert in chosen) if layer.normalised else 1.0
    return sum((shares[e] / total * layer.experts[e](x_C) for e in chosen), torch.zeros_like(x_C))


@given(num_experts=st.integers(1, 5), data=st.data(), normalised=st.booleans(), seed=st.integers(0, 1000))
def test_it_is_its_formula(num_experts: int, data: st.DataObject, normalised: bool, seed: int) -> None:
    layer = mixture(num_experts, data.draw(st.integers(1, num_experts)), normalised, seed)
    x_BTC = states(seed=seed)
    expected = torch.stack([torch.stack([plain(layer, x_C) for x_C in x_TC]) for x_TC in x_BTC])
    assert (layer(x_BTC) - expected).abs().max() < 1e-6  # the router's softmax is float32


@pytest.mark.parametrize("top_k", [1, 2, 4])
def test_alike_experts_are_one_dense_layer(top_k: int) -> None:
    """With normalised weights, whatever the router says."""
    torch.manual_seed(0)
    dense = FeedForward(C, F_WIDTH, F.gelu)
    layer = Mixture(C, [copy.deepcopy(dense) for _ in range(4)], top_k)
    x_BTC = states().float()
    assert torch.allclose(layer(x_BTC), dense(x_BTC), atol=1e-6)


def test_weights_that_are_not_normalised_are_the_softmax_over_all() -> None:
    x_NC = states().flatten(0, 1)
    shares, _ = mixture(5, 2, normalised=False).route(x_NC)
    whole, _ = mixture(5, 5, normalised=False).route(x_NC)
    scaled, _ = mixture(5, 2).route(x_NC)
    assert torch.equal(shares, whole[:, :2])
    assert (shares.sum(-1) < 1).all()
    assert torch.allclose(whole.sum(-1), torch.ones(len(x_NC)))
    assert torch.allclose(scaled, shares / shares.sum(-1, keepdim=True))


@pytest.mark.parametrize(("top_k", "normalised", "learns"), [(1, False, True), (1, True, False), (2, True, True)])
def test_the_router_learns_from_what_it_weighs(top_k: int, normalised: bool, learns: bool) -> None:
    """One expert with a normalised weight weighs 1 whatever the router says: then there is nothing to learn from."""
    layer = mixture(4, top_k, normalised)
    layer(states()).square().sum().backward()
    assert layer.router.weight.grad is not None
    assert bool((layer.router.weight.grad.abs() > 1e-6).any()) == learns


def test_an_expert_nobody_chose_has_no_part() -> None:
    layer, x_BTC = mixture(3, 2), states().abs()
    with torch.no_grad():
        layer.router.weight[1] = -100.0
        expected = layer(x_BTC)
        layer.experts[1].down_proj.weight.fill_(torch.nan)
    found = layer(x_BTC)
    assert torch.equal(found, expected)
    found.sum().backward()
    assert layer.experts[1].down_proj.weight.grad is None
    assert layer.experts[0].down_proj.weight.grad is not None


def test_each_token_is_alone() -> None:
    """Whatever else is in the batch."""
    layer, x_BTC = mixture(4, 2), states(3, 5)
    assert torch.allclose(layer(x_BTC)[1:2, 2:3], layer(x_BTC[1:2, 2:3]), atol=1e-12)


def test_16_bits_stay_16_bits_and_weights_do_not() -> None:
    layer, x_BTC = mixture(4, 2).to(torch.bfloat16), states().to(torch.bfloat16)
    assert layer(x_BTC).dtype == torch.bfloat16
    assert layer.route(x_BTC.flatten(0, 1))[0].dtype == torch.float32


@pytest.mark.parametrize("top_k", [0, 4])
def test_more_experts_than_there_are_is_an_error(top_k: int) -> None:
    with pytest.raises(ValueError, match=r"experts a token \(there are 3\)"):
        mixture(3, top_k)
