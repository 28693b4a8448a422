"""Recurrences in two forms: in chunks or token by token, in any pieces and with padding anywhere, they say the same.

The token-by-token form in float64 is the yardstick, decays from none at all to ones that underflow.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from hanlin.core.model.cache import Cache
from hanlin.core.model.equality import difference
from hanlin.core.model.mamba import MambaMixer, MixerBlock, scan_parallel, scan_recurrent
from hanlin.core.model.mamba2 import Mamba2Mixer, segment_sums, ssd_chunked, ssd_recurrent
from hanlin.core.model.reading import Reading
from hanlin.core.model.recurrent import CausalConvolution, Float32RMSNorm, Past, RealTokens
from hanlin.core.model.rwkv import NOTHING, ChannelMix, RwkvBlock, TimeMix, wkv_parallel, wkv_recurrent

TOLERANCE = 1e-5
Tensors = list[torch.Tensor]

batches, lengths, chunks = st.integers(1, 3), st.integers(1, 70), st.integers(1, 80)
seeds = st.integers(0, 10_000)
strengths = st.sampled_from([0.0, 0.01, 1.0, 30.0, 1000.0])
"""Of decays: from a state that keeps everything to one that keeps nothing."""


def scan_inputs(batch: int, length: int, strength: float, seed: int) -> Tensors:
    random = torch.Generator().manual_seed(seed)
    normal = torch.randn
    x, b, c = (normal(batch, length, n, generator=random) for n in (5, 3, 3))
    step = torch.rand(batch, length, 5, generator=random)
    a = -torch.rand(5, 3, generator=random) * strength
    return [x, step, a, b, c, normal(batch, 5, 3, generator=random)]


def ssd_inputs(batch: int, length: int, strength: float, seed: int) -> Tensors:
    random = torch.Generator().manual_seed(seed)
    normal = torch.randn
    x = normal(batch, length, 4, 3, generator=random)
    step, a = torch.rand(batch, length, 4, generator=random), -torch.rand(4, generator=random) * strength
    groups = (1, 2, 4)[seed % 3]
    b, c = (normal(batch, length, groups, 5, generator=random) for _ in range(2))
    return [x, step, a, b, c, normal(batch, 4, 3, 5, generator=random)]


def wkv_inputs(batch: int, length: int, strength: float, seed: int) -> Tensors:
    random = torch.Generator().manual_seed(seed)
    normal = torch.randn
    k, v = normal(batch, length, 6, generator=random) * 2, normal(batch, length, 6, generator=random)
    fade = (torch.rand(6, generator=random) * strength).expand_as(k)
    mean, log_weight = (normal(batch, 6, generator=random) for _ in range(2))
    return [k, v, fade, normal(6, generator=random), mean, log_weight]


def wkv(form: Callable[..., Any], *inputs: Any, **options: Any) -> Tensors:
    """The past as two tensors, so that all forms here take and give tensors alone."""
    y, past = form(*inputs[:4], (inputs[4], inputs[5]), **options)
    return [y, *past]


Form = Callable[..., Any]
FORMS: dict[str, tuple[Callable[..., Tensors], Form, Form, tuple[int, ...], int]] = {
    "scan": (scan_inputs, scan_recurrent, scan_parallel, (0, 1, 3, 4), 1),
    "ssd": (ssd_inputs, ssd_recurrent, ssd_chunked, (0, 1, 3, 4), 1),
    "wkv": (
        wkv_inputs,
        lambda *inputs: wkv(wkv_recurrent, *inputs),
        lambda *inputs, **options: wkv(wkv_parallel, *inputs, **options),
        (0, 1, 2),
        2,
    ),
}
"""Inputs, the form of single tokens, the form of many, which inputs have a T, and how many at the end are the state."""

forms = pytest.mark.parametrize("kind", FORMS)


@forms
@settings(max_examples=40)
@given(batch=batches, length=lengths, chunk=chunks, strength=strengths, seed=seeds)
def test_many_at_once_equal_one_by_one(
    kind: str, batch: int, length: int, chunk: int, strength: float, seed: int
) -> None:
    make, recurrent, parallel, _, _ = FORMS[kind]
    inputs = make(batch, length, strength, seed)
    exact = recurrent(*(tensor.double() for tensor in inputs))
    for ours in (recurrent(*inputs), parallel(*inputs), parallel(*inputs, chunk=chunk)):
        for one, other in zip(ours, exact):
            assert difference(one, other) <= TOLERANCE


@forms
@settings(max_examples=20)
@given(batch=batches, length=lengths, chunk=chunks, strength=strengths, seed=seeds)
def test_gradients_of_both_forms(kind: str, batch: int, length: int, chunk: int, strength: float, seed: int) -> None:
    """float64: here it is the derivation that is tested."""
    make, recurrent, parallel, _, _ = FORMS[kind]
    inputs = [tensor.double().requires_grad_() for tensor in make(batch, length, strength, seed)]
    gradients = []
    for found in (recurrent(*inputs), parallel(*inputs, chunk=chunk)):
        total = sum(tensor.square().mean() for tensor in found)
        gradients.append(torch.autograd.grad(total, inputs))
    for one, other in zip(*gradients):
        assert difference(one, other) <= 1e-9


@forms
@settings(max_examples=20)
@given(length=lengths, cut=st.integers(0, 70), chunk=chunks, strength=strengths, seed=seeds)
def test_reading_on_from_a_state(kind: str, length: int, cut: int, chunk: int, strength: float, seed: int) -> None:
    make, recurrent, parallel, over_time, num_states = FORMS[kind]
    inputs = make(2, length + 1, strength, seed)
    cut = min(cut, length - 1) + 1
    first = [tensor[:, :cut] if place in over_time else tensor for place, tensor in enumerate(inputs)]
    second = [tensor[:, cut:] if place in over_time else tensor for place, tensor in enumerate(inputs)]
    exact = recurrent(*(tensor.double() for tensor in inputs))
    y, *state = parallel(*first, chunk=chunk)
    y_next, *last = parallel(*second[:-num_states], *state, chunk=chunk)
    for one, other in zip([torch.cat([y, y_next], dim=1), *last], exact):
        assert difference(one, other) <= TOLERANCE


@given(length=lengths, seed=seeds)
def test_scan_is_what_the_paper_writes(length: int, seed: int) -> None:
    """y_t = Σ_s c_t·(exp(a·Σ_(s < i ≤ t) Δ_i) ⊙ b_s)·Δ_s·x_s."""
    x, step, a, b, c, state = (tensor.double() for tensor in scan_inputs(2, length, 1.0, seed))
    since = step.cumsum(dim=1)
    hidden = torch.ones(length, length, dtype=torch.bool).triu(1)[..., None, None]
    kept = torch.exp((since[:, :, None] - since[:, None])[..., None] * a).masked_fill(hidden, 0.0)
    y = torch.einsum("bsf,bsn,btsfn,btn->btf", step * x, b, kept, c)
    assert difference(scan_parallel(x, step, a, b, c, state * 0)[0], y) <= 1e-9


@given(length=lengths, seed=seeds)
def test_ssd_is_a_scan_with_one_decay_a_head(length: int, seed: int) -> None:
    x, step, a, b, c, state = (tensor.double() for tensor in ssd_inputs(2, length, 1.0, seed))
    y, last = ssd_chunked(x, step, a, b, c, state, chunk=7)
    for head in range(4):
        group = head * b.shape[2] // 4
        arguments = (
            x[:, :, head],
            step[:, :, head, None].expand(-1, -1, 3),
            a[head].expand(3, 5),
            b[:, :, group],
            c[:, :, group],
            state[:, head],
        )
        y_head, last_head = scan_recurrent(*arguments)
        assert difference(y[:, :, head], y_head) <= 1e-9
        assert difference(last[:, head], last_head) <= 1e-9


@given(length=lengths, strength=strengths, seed=seeds)
def test_wkv_is_what_the_paper_writes(length: int, strength: float, seed: int) -> None:
    """Its equation 16 as a softmax over what came before, without a state."""
    k, v, fade, bonus, _, _ = wkv_inputs(2, length, strength, seed)
    y, _ = wkv_parallel(k, v, fade, bonus, (torch.zeros(2, 6), torch.full((2, 6), NOTHING)))
    k, v, bonus, fade = k.double(), v.double(), bonus.double(), fade.double()
    places = torch.arange(length)
    distance_TS1 = (places[:, None] - places)[..., None]
    log_weights = k[:, None] - (distance_TS1 - 1) * fade[:, :1, None]
    log_weights = torch.where(distance_TS1 == 0, k[:, None] + bonus, log_weights)
    log_weights = log_weights.masked_fill(distance_TS1 < 0, -torch.inf)
    assert difference(y, (log_weights.softmax(dim=2) * v[:, None]).sum(dim=2)) <= TOLERANCE


def test_wkv_of_enormous_keys_is_finite() -> None:
    """exp(500) is no number of float32."""
    k = torch.tensor([500.0, -500.0, 500.0, 0.0])[None, :, None].requires_grad_()
    past = (torch.zeros(1, 1), torch.full((1, 1), NOTHING))
    for form in (wkv_recurrent, wkv_parallel):
        y, _ = form(k, torch.arange(4.0)[None, :, None], torch.ones_like(k), torch.zeros(1), past)
        assert y.flatten().tolist() == pytest.approx([0.0, 0.0, 2 / (1 + math.exp(-1)), 2 / (1 + math.exp(-2))])
        assert torch.isfinite(torch.autograd.grad(y.sum(), k)[0]).all()


def test_segment_sums_keep_small_numbers_after_large_ones() -> None:
    sums = segment_sums(torch.tensor([-1e6, -1e6, -1e-3, -2e-3]))
    assert sums[3].tolist() == pytest.approx([-1e6 - 3e-3, -3e-3, -2e-3, 0.0])
    assert sums[0].tolist() == [0.0, -torch.inf, -torch.inf, -torch.inf]


def mamba_block() -> nn.Module:
    return MixerBlock(Float32RMSNorm(8, 1e-5), MambaMixer(8, 12, 3, 2, 4, F.silu, bias=True), True)


def mamba2_block() -> nn.Module:
    return MixerBlock(Float32RMSNorm(8, 1e-5), Mamba2Mixer(8, 4, 3, 2, 5, 3, F.silu, 1e-5, chunk=5, bias=True), True)


def rwkv_block() -> nn.Module:
    return RwkvBlock(nn.LayerNorm(8), TimeMix(8, 12), nn.LayerNorm(8), ChannelMix(8, 20))


@pytest.mark.parametrize("make", [mamba_block, mamba2_block, rwkv_block])
@settings(max_examples=25)
@given(
    rows=st.integers(1, 12).flatmap(
        lambda n: st.lists(st.lists(st.booleans(), min_size=n, max_size=n), min_size=1, max_size=3)
    ),
    cut=st.integers(0, 12),
    seed=seeds,
)
@torch.inference_mode()
def test_padding_anywhere_is_as_if_it_were_not_there(
    make: Callable[[], Any], rows: list[list[bool]], cut: int, seed: int
) -> None:
    """In one pass without a state, and in two with one: on the left, on the right, in between, whole rows of it."""
    torch.manual_seed(seed)
    block = make().eval()
    for parameter in block.parameters():
        parameter.add_(torch.randn(parameter.shape) * 0.2)
    present, T = torch.tensor(rows), len(rows[0])
    x = torch.randn(*present.shape, 8)
    whole = block(x, Reading(0, T, x.device, present), None)
    cache = Cache([block.new_state(len(rows), T)], T)
    pieces = []
    for piece, real in zip(
        x.split([min(cut, T), T - min(cut, T)], dim=1), present.split([min(cut, T), T - min(cut, T)], dim=1)
    ):
        if piece.shape[1]:
            reading = cache.read(piece.shape[1], x.device, real)
            pieces.append(block(piece, reading, cache.states[0]))
            cache.length = reading.total
    for row, real in enumerate(present):
        if real.any():
            alone = block(x[row : row + 1, real], Reading(0, int(real.sum()), x.device), None)[0]
            assert difference(whole[row, real], alone) <= TOLERANCE
            assert difference(torch.cat(pieces, dim=1)[row, real], alone) <= TOLERANCE
    assert torch.isfinite(whole).all()


@given(halvings=st.integers(0, 4), halves=st.booleans(), seed=seeds)
@torch.inference_mode()
def test_halved_states_say_the_same(halvings: int, halves: bool, seed: int) -> None:
    """In use, a block handed x/2ⁿ gives what training gives for x, halved as often; norms do not see the difference."""
    torch.manual_seed(seed)
    parts = nn.LayerNorm(8, eps=0.0), TimeMix(8, 12), nn.LayerNorm(8, eps=0.0), ChannelMix(8, 20)
    block, x = RwkvBlock(*parts, halvings=halvings, halves=halves), torch.randn(2, 5, 8)
    reading = Reading(0, 5, x.device)
    trained, used = block.train()(x, reading), block.eval()(x * 0.5**halvings, reading)
    assert difference(used, trained * 0.5 ** (halvings + halves)) <= TOLERANCE


@given(kernel=st.integers(1, 5), length=st.integers(1, 9), bias=st.booleans(), seed=seeds)
def test_convolution_sees_its_kernel_and_nothing_later(kernel: int, length: int, bias: bool, seed: int) -> None:
    torch.manual_seed(seed)
    layer, x = CausalConvolution(3, kernel, bias), torch.randn(2, length, 3)
    y = layer(x, RealTokens(None), None)
    for t in range(length):
        seen = [(layer.weight[:, 0, kernel - 1 - back] * x[:, t - back]) for back in range(min(kernel, t + 1))]
        assert difference(y[:, t], sum(seen) + (layer.bias if bias else 0.0)) <= TOLERANCE
    past = layer.new_past(2)
    assert isinstance(past, Past)
    one_by_one = torch.cat([layer(x[:, t : t + 1], RealTokens(None), past) for t in range(length)], dim=1)
    assert difference(one_by_one, y) <= TOLERANCE
