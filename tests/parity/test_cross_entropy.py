"""Cross-entropy in blocks against TRL's, which walks over blocks too, and F.cross_entropy at Gemma's vocabulary."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from hanlin.core.model.cross_entropy import linear_cross_entropy
from hanlin.core.model.soft_cap import soft_cap


def drawn(num_tokens: int, vocab: int, width: int, seed: int) -> tuple[list[torch.Tensor], torch.Tensor]:
    random = torch.Generator().manual_seed(seed)
    sizes = ((num_tokens, width), (vocab, width), (vocab,))
    tensors = [torch.randn(size, generator=random).mul_(0.5).requires_grad_() for size in sizes]
    return tensors, torch.randint(vocab, (num_tokens,), generator=random)


def assert_equal(ours: torch.Tensor, theirs: torch.Tensor, tensors: list[torch.Tensor]) -> None:
    torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=1e-6)
    for mine, other in zip(torch.autograd.grad(ours, tensors), torch.autograd.grad(theirs, tensors), strict=True):
        torch.testing.assert_close(mine, other, rtol=0, atol=1e-6 * max(1.0, float(other.abs().max())))


@settings(max_examples=20)
@given(st.integers(1, 60), st.integers(5, 600), st.sampled_from([None, 8.0]), st.integers(0, 2**31))
def test_trl(num_tokens: int, vocab: int, cap: float | None, seed: int) -> None:
    kernel = pytest.importorskip("trl.kernels.chunked_logprob").ChunkedLogProbFunction
    tensors, targets = drawn(num_tokens, vocab, 16, seed)
    states, weight, bias = tensors
    logprobs, *_ = kernel.apply(states, weight, bias, targets, 1.0, 64, cap, 1.0, ())
    shape = None if cap is None else lambda logits: soft_cap(logits, cap)
    assert_equal(linear_cross_entropy(states, weight, targets, bias, shape), -logprobs.sum(), tensors)


def test_the_plain_one_with_gemma_s_vocabulary() -> None:
    """140 tokens of float32: two blocks of tokens, or of the vocabulary where the weight is trained."""
    (states, weight, _), targets = drawn(140, 262_144, 8, 0)
    for trained in ([states, weight], [states]):
        plain = F.cross_entropy(F.linear(states, weight), targets, reduction="sum")
        assert_equal(linear_cross_entropy(states, weight.requires_grad_(len(trained) == 2), targets), plain, trained)
