"""Cross-entropy in blocks equals the plain one: loss and gradients, every head, every way of cutting the logits."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from toy import VOCAB, small_decoder

from hanlin.core.model import cross_entropy as module
from hanlin.core.model.cross_entropy import IGNORED, CrossEntropy, linear_cross_entropy
from hanlin.core.model.families import bert, t5
from hanlin.core.model.likelihood import document_likelihood
from hanlin.core.model.soft_cap import soft_cap
from hanlin.core.run.errors import HanlinError

CAP = partial(soft_cap, cap=8.0)
SHAPES = st.sampled_from([None, CAP])
OPTIONS = st.sampled_from([(0.0, 0.0), (0.1, 0.0), (0.0, 0.01), (0.2, 0.003)])
WHOLE, SUMMED, BY_VOCABULARY = "whole", "summed", "by vocabulary"
WAYS = [WHOLE, SUMMED, BY_VOCABULARY]


@contextmanager
def cut(way: str, weight: torch.Tensor, num_tokens: int) -> Iterator[None]:
    """Inside, these logits are cut the given way: into two or more blocks of tokens or of the vocabulary."""
    logits_bytes = num_tokens * len(weight) * weight.element_size()
    with pytest.MonkeyPatch.context() as patch:
        if way != WHOLE:
            patch.setattr(module, "MAX_BYTES", max(1, logits_bytes // 3))
            patch.setattr(module, "_logits_at_once", lambda device: 2 * len(weight))
        if way == SUMMED:  # as where the weight is small beside its logits
            patch.setattr(module, "_by_vocabulary", module._by_tokens)
        yield


def plain(
    states: torch.Tensor,
    weight: torch.Tensor,
    targets: torch.Tensor,
    bias: torch.Tensor | None = None,
    shape: Callable[[torch.Tensor], torch.Tensor] | None = None,
    label_smoothing: float = 0.0,
    z_loss: float = 0.0,
) -> torch.Tensor:
    logits = F.linear(states, weight, bias)
    logits = logits if shape is None else shape(logits)
    logits = logits if logits.dtype == torch.float64 else logits.float()
    loss = F.cross_entropy(logits, targets, ignore_index=IGNORED, reduction="sum", label_smoothing=label_smoothing)
    return loss + z_loss * (logits.logsumexp(-1).square() * (targets != IGNORED)).sum()


def drawn(
    num_tokens: int, vocab: int, width: int, bias: bool, seed: int, dtype: torch.dtype = torch.float32
) -> tuple[list[torch.Tensor], torch.Tensor]:
    """[states, weight, (bias)] and targets."""
    random = torch.Generator().manual_seed(seed)

    def normal(*size: int, spread: float) -> torch.Tensor:
        return (torch.randn(size, generator=random) * spread).to(dtype).requires_grad_()

    tensors = [normal(num_tokens, width, spread=1.0), normal(vocab, width, spread=1.5 / width**0.5)]
    if bias:
        tensors.append(normal(vocab, spread=0.5))
    return tensors, torch.randint(vocab, (num_tokens,), generator=random)


def both(function: Callable[..., torch.Tensor], tensors: list[torch.Tensor], targets: torch.Tensor, *options: Any):
    """[loss, gradients …] in float64."""
    states, weight, *bias = tensors
    loss = function(states, weight, targets, bias[0] if bias else None, *options)
    return [found.double() for found in (loss.detach(), *torch.autograd.grad(loss, tensors))]


def assert_close(found: list[torch.Tensor], expected: list[torch.Tensor], tolerance: float = 1e-6) -> None:
    """As a share of each tensor's largest number, or of 1, the scale of the logits' gradients: what cancels out to less
    is nothing but rounding."""
    for ours, theirs in zip(found, expected, strict=True):
        assert (ours - theirs).abs().max() <= tolerance * max(1.0, float(theirs.abs().max()))


@settings(max_examples=60)
@given(
    st.sampled_from(WAYS),
    st.integers(2, 40),
    st.integers(2, 300),
    st.integers(1, 24),
    st.booleans(),
    SHAPES,
    OPTIONS,
    st.integers(0, 2**31),
)
def test_loss_and_gradients_are_those_of_the_formula(
    way: str, num_tokens: int, vocab: int, width: int, bias: bool, shape: Any, options: tuple, seed: int
) -> None:
    tensors, targets = drawn(num_tokens, vocab, width, bias, seed)
    with cut(way, tensors[1], num_tokens):
        found = both(linear_cross_entropy, tensors, targets, shape, *options)
    exact = [tensor.detach().double().requires_grad_() for tensor in tensors]
    assert_close(found, both(plain, exact, targets, shape, *options))


@pytest.mark.parametrize("way", WAYS)
def test_equal_to_the_plain_one_in_float32(way: str) -> None:
    tensors, targets = drawn(64, 2000, 32, True, 1)
    with cut(way, tensors[1], 64):
        assert_close(both(linear_cross_entropy, tensors, targets), both(plain, tensors, targets))


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("shape", [None, CAP], ids=["straight", "capped"])
@pytest.mark.parametrize("options", [(0.0, 0.0), (0.2, 0.01)])
def test_float64(way: str, shape: Any, options: tuple) -> None:
    """Equal to autograd's of the plain one, and to the loss's change along random directions."""
    tensors, targets = drawn(7, 50, 5, True, 2, torch.float64)
    with cut(way, tensors[1], 7):
        loss, *gradients = both(linear_cross_entropy, tensors, targets, shape, *options)
        assert_close([loss, *gradients], both(plain, tensors, targets, shape, *options), 1e-13)
        for place, gradient in enumerate(gradients):
            step = 1e-5 * torch.randn_like(gradient)
            ends = []
            for sign in (1, -1):
                states, weight, bias = moved = [tensor.detach().clone() for tensor in tensors]
                moved[place] += sign * step
                ends.append(linear_cross_entropy(states, weight, targets, bias, shape, *options))
            assert float(ends[0] - ends[1]) == pytest.approx(2 * float((gradient * step).sum()), rel=1e-6, abs=1e-12)


@pytest.mark.parametrize("shape", [None, CAP], ids=["straight", "capped"])
@pytest.mark.parametrize("options", [(0.0, 0.0), (0.1, 0.001)])
def test_bfloat16_is_no_farther_from_float64_than_the_plain_one(shape: Any, options: tuple) -> None:
    tensors, targets = drawn(300, 2000, 64, True, 3, torch.bfloat16)
    exact = [tensor.detach().double().requires_grad_() for tensor in tensors]
    expected = both(plain, exact, targets, shape, *options)
    theirs, ours = (both(function, tensors, targets, shape, *options) for function in (plain, linear_cross_entropy))
    assert abs(ours[0] / expected[0] - 1) <= max(1e-5, 1.1 * abs(theirs[0] / expected[0] - 1))
    for found, other, true in zip(ours[1:], theirs[1:], expected[1:]):
        assert (found - true).norm() <= 1.02 * (other - true).norm()


@pytest.mark.parametrize("way", [SUMMED, BY_VOCABULARY])
def test_blocks_cost_bfloat16_one_rounding_more_at_most(way: str) -> None:
    tensors, targets = drawn(300, 2000, 64, True, 4, torch.bfloat16)
    exact = [tensor.detach().double().requires_grad_() for tensor in tensors]
    expected, theirs = both(plain, exact, targets), both(plain, tensors, targets)
    with cut(way, tensors[1], 300):
        ours = both(linear_cross_entropy, tensors, targets)
    for found, other, true in zip(ours[1:], theirs[1:], expected[1:]):
        one_rounding = (true.to(torch.bfloat16).double() - true).norm()
        assert (found - true).norm() <= 1.1 * ((other - true).norm() ** 2 + one_rounding**2).sqrt()


def test_a_wide_softmax_is_exact() -> None:
    """Where torch's own kernel, adding up number after number, is not."""
    tensors, targets = drawn(3, 150_000, 4, False, 5)
    exact = [tensor.detach().double().requires_grad_() for tensor in tensors]
    loss, _, weight_gradient = both(linear_cross_entropy, tensors, targets)
    true_loss, _, true_gradient = both(plain, exact, targets)
    assert_close([loss, weight_gradient], [true_loss, true_gradient])


class Wrapped(nn.Module):
    """A head that is more than one matrix."""

    def __init__(self, base: nn.Linear):
        super().__init__()
        self.base, self.beside = base, nn.Linear(base.in_features, base.out_features, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.base(x) + self.beside(x)


def decoder(shape: Any = None, bias: bool = False, frozen: bool = False, wrapped: bool = False) -> Any:
    model: Any = small_decoder(num_layers=1)
    model.shape_logits = shape
    if bias:
        model.lm_head.bias = nn.Parameter(torch.randn(VOCAB, generator=torch.Generator().manual_seed(0)))
    if frozen:
        model.lm_head.weight.requires_grad_(False)
    if wrapped:
        model.lm_head = Wrapped(model.lm_head)
    return model


def encoder() -> Any:
    config = bert.new_config(VOCAB, width=32, num_layers=1, num_heads=2, hidden=48, max_positions=16, pad_id=0)
    return bert.build(config)


def encoder_decoder() -> Any:
    sizes = {"width": 32, "num_layers": 1, "num_heads": 2, "head_width": 16, "hidden": 48, "max_positions": 16}
    model = t5.build(t5.new_config(VOCAB, **sizes, pad_id=0, stop_id=1, start_id=0))
    model.head_scale = 0.25
    return model


MODELS = {
    "decoder": decoder,
    "capped": partial(decoder, shape=CAP),
    "with a bias": partial(decoder, bias=True),
    "frozen": partial(decoder, frozen=True),
    "more than a matrix": partial(decoder, shape=CAP, wrapped=True),
    "encoder": encoder,
    "encoder-decoder": encoder_decoder,
}
models = pytest.mark.parametrize("build", MODELS.values(), ids=list(MODELS))


def trained_by(model: Any, loss: Callable[[torch.Tensor], torch.Tensor], states: torch.Tensor) -> list[torch.Tensor]:
    """[loss, gradient of the states, gradients of the trained parameters that have one]."""
    model.zero_grad()
    states = states.detach().requires_grad_()
    total = loss(states)
    total.backward()
    gradients = [states.grad, *(p.grad for p in model.parameters() if p.grad is not None)]
    return [found.detach().double() for found in (total, *gradients)]


@models
@given(st.integers(1, 3), st.integers(1, 9), OPTIONS, st.integers(0, 2**31))
@settings(max_examples=10)
def test_every_model_s_head(build: Any, rows: int, length: int, options: tuple, seed: int) -> None:
    torch.manual_seed(seed)
    model = build()
    states = torch.randn(rows, length, 32)
    targets = torch.randint(VOCAB, (rows, length)).masked_fill(torch.rand(rows, length) < 0.4, IGNORED)
    expected = trained_by(
        model,
        lambda states: (
            F.cross_entropy(
                model.head(states).flatten(0, 1),
                targets.flatten(),
                ignore_index=IGNORED,
                reduction="sum",
                label_smoothing=options[0],
            )
            + options[1] * (model.head(states).logsumexp(-1).square() * (targets != IGNORED)).sum()
        ),
        states,
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "MAX_BYTES", 3 * 8 * VOCAB)
        found = trained_by(model, lambda states: CrossEntropy(*options)(model, states, targets), states)
        with torch.inference_mode():
            assert_close([CrossEntropy(*options)(model, states, targets).double()], expected[:1])
    assert_close(found, expected, 2e-6)


@models
def test_without_a_trained_token_it_is_a_zero_with_a_graph(build: Any) -> None:
    model = build()
    states = torch.randn(2, 3, 32, requires_grad=True)
    loss = CrossEntropy(0.1, 0.01)(model, states, torch.full((2, 3), IGNORED))
    loss.backward()
    assert loss.item() == 0 and loss.dtype == torch.float32 and loss.ndim == 0
    assert all(p.grad is None or not p.grad.any() for p in (states, *model.parameters()))


def test_a_frozen_head_has_no_gradient() -> None:
    model = decoder(frozen=True)
    states = torch.randn(1, 3, 32, requires_grad=True)
    CrossEntropy()(model, states, torch.tensor([[1, 2, 3]])).backward()
    assert model.lm_head.weight.grad is None and states.grad is not None and states.grad.any()


def test_the_head_runs_on_trained_tokens_alone() -> None:
    model, seen = encoder(), []
    model.head.dense.register_forward_hook(lambda layer, given, result: seen.append(tuple(given[0].shape)))
    targets = torch.tensor([[5, IGNORED, IGNORED], [IGNORED, 7, 9]])
    CrossEntropy()(model, torch.randn(2, 3, 32), targets)
    assert seen == [(3, 32)]


def test_an_encoder_without_a_head_is_refused() -> None:
    model = encoder()
    model.head = None
    with pytest.raises(HanlinError, match="no head"):
        CrossEntropy()(model, torch.randn(1, 2, 32), torch.tensor([[1, 2]]))


def test_a_weight_s_gradient_is_not_copied() -> None:
    """It may be as large as the model: what forward made becomes `.grad`, scaled in place, so backward works once."""
    (states, weight), targets = drawn(5, 30, 4, False, 6)
    loss = linear_cross_entropy(states, weight, targets) / 5
    saved = [tensor.data_ptr() for tensor in loss.grad_fn.next_functions[0][0].saved_tensors if tensor is not None]
    loss.backward()
    assert saved == [states.grad.data_ptr(), weight.grad.data_ptr()]
    loss = linear_cross_entropy(states, weight, targets)
    loss.backward(retain_graph=True)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


def test_evaluation_is_as_before() -> None:
    model = small_decoder()
    random = torch.Generator().manual_seed(7)
    documents = [torch.randint(VOCAB, (length,), generator=random).tolist() for length in (2, 9, 17, 30)]
    with torch.inference_mode():
        expected = sum(
            float(F.cross_entropy(model(torch.tensor([ids[:-1]]))[0], torch.tensor(ids[1:]), reduction="sum"))
            for ids in documents
        )
    assert document_likelihood(model, [(ids, 1) for ids in documents], 32).nats == pytest.approx(expected, rel=1e-6)


PEAK = """
import torch
from hanlin.core.model.cross_entropy import linear_cross_entropy

def peak():
    return int(next(line for line in open("/proc/self/status") if line.startswith("VmHWM")).split()[1]) * 1024

torch.set_num_threads(1)
states = torch.randn(1024, 16, dtype=torch.bfloat16, requires_grad=True)
weight = torch.randn(262144, 16, dtype=torch.bfloat16)
targets = torch.randint(262144, (1024,))
linear_cross_entropy(states[:2], weight, targets[:2]).backward()
before = peak()
with torch.no_grad():
    linear_cross_entropy(states, weight, targets)
linear_cross_entropy(states, weight, targets).backward()
frozen = peak() - before
linear_cross_entropy(states, weight.requires_grad_(), targets).backward()
print(frozen, peak() - before)
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads Linux's record of the peak")
def test_memory_stays_bounded() -> None:
    """1,024 tokens of 262,144 logits are 512 MiB in bfloat16; the plain one holds 1 GiB of float32 besides, and that
    again for the gradient. The weight's own gradient is 8 MiB here."""
    output = subprocess.run([sys.executable, "-c", PEAK], capture_output=True, text=True, check=True).stdout
    frozen, trained = map(int, output.split())
    assert frozen < 190 * 2**20
    assert trained < 220 * 2**20
