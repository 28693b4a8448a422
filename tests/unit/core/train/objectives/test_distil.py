"""Distillation: the plain formula at 1e-6, whatever is kept of the teacher and however it is computed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from toy import VOCAB, small_decoder

from hanlin.core.train.batch import IGNORED, Batch
from hanlin.core.train.objectives import distil
from hanlin.core.train.objectives.causal import Causal
from hanlin.core.train.objectives.distil import Direction, Distil, divergence

directions = st.sampled_from(["forward", "reverse"])
temperatures = st.floats(0.5, 4)
seeds = st.integers(0, 999)


def told(logits_NV: torch.Tensor, k: int, temperature: float = 1.0) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """What is kept of a teacher: (ids, log-probabilities, log-probability of the rest)."""
    logprobs = (logits_NV / temperature).log_softmax(-1)
    kept = logprobs.topk(k)
    rest = logprobs.scatter(-1, kept.indices, -torch.inf).logsumexp(-1)
    return kept.indices, kept.values, rest


def random_logits(tokens: int, seed: int, vocab: int = VOCAB) -> torch.Tensor:
    return torch.empty(tokens, vocab).normal_(0, 2, generator=torch.Generator().manual_seed(seed))


@given(directions, temperatures, seeds)
def test_the_whole_vocabulary_gives_the_kl_itself(direction: Direction, temperature: float, seed: int) -> None:
    """Against torch's own, the teacher's softmax at the same temperature."""
    student, teacher = random_logits(7, seed), random_logits(7, seed + 1)
    found = divergence(student / temperature, *told(teacher, VOCAB, temperature), direction)
    p, q = ((logits / temperature).log_softmax(-1) for logits in (teacher, student))
    goal, guess = (p, q) if direction == "forward" else (q, p)
    plain = F.kl_div(guess, goal, log_target=True, reduction="none").sum(-1)
    assert torch.allclose(found, plain, rtol=1e-6, atol=1e-6)


@given(directions, st.integers(1, VOCAB - 1), seeds)
def test_the_rest_is_one_outcome(direction: Direction, k: int, seed: int) -> None:
    """The plain formula on k + 1 outcomes, in float64; never more than the KL of the whole vocabulary."""
    student, teacher = random_logits(5, seed), random_logits(5, seed + 1)
    found = divergence(student, *told(teacher, k), direction)
    p, q = teacher.double().softmax(-1), student.double().softmax(-1)
    ids = teacher.topk(k).indices
    p, q = (torch.cat([x.gather(-1, ids), 1 - x.gather(-1, ids).sum(-1, keepdim=True)], -1) for x in (p, q))
    goal, guess = (p, q) if direction == "forward" else (q, p)
    plain = (goal * (goal.log() - guess.log())).sum(-1)
    assert torch.allclose(found.double(), plain, rtol=1e-5, atol=1e-6)
    assert (found <= divergence(student, *told(teacher, VOCAB), direction) + 1e-5).all() and (found >= -1e-6).all()


@pytest.mark.parametrize("direction", ["forward", "reverse"])
@pytest.mark.parametrize("k", [3, VOCAB])
def test_the_teacher_itself_has_nothing_to_learn(direction: Direction, k: int) -> None:
    """Even where it is so sure that the rest is next to nothing: no infinity, no gradient."""
    logits = (random_logits(6, 0) * 20).requires_grad_()
    found = divergence(logits, *told(logits.detach(), k), direction).sum()
    found.backward()
    assert abs(float(found.detach())) < 1e-5 and logits.grad.abs().max() < 1e-5


def batch_of(seed: int = 0, k: int = 5, temperature: float = 1.0) -> Batch:
    random = torch.Generator().manual_seed(seed)
    ids = torch.randint(VOCAB, (3, 11), generator=random)
    targets = torch.randint(VOCAB, (3, 11), generator=random)
    targets[torch.rand(3, 11, generator=random) < 0.4] = IGNORED
    names = ("teacher_ids", "teacher_logprobs", "teacher_rest")
    kept = told(random_logits(33, seed + 1), k, temperature)
    return Batch(ids, targets, extras={name: t.unflatten(0, (3, 11)) for name, t in zip(names, kept)})


@settings(max_examples=30)
@given(directions, st.floats(0.1, 1), temperatures, st.integers(1, VOCAB), st.integers(1, 40))
def test_loss_and_gradients_of_a_model(
    direction: Direction, share: float, temperature: float, k: int, tokens_at_once: int
) -> None:
    """share · temperature² · KL + (1 − share) · cross-entropy, over trained tokens, in chunks of any size."""
    batch = batch_of(k=k, temperature=temperature)
    model = small_decoder(num_layers=1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(distil, "LOGITS_AT_ONCE", tokens_at_once * VOCAB)
        found = Distil(direction, temperature, share)(model, batch)
    found.backward()
    gradients = {name: parameter.grad for name, parameter in model.named_parameters()}
    model.zero_grad(set_to_none=True)

    trained = batch.targets_BT != IGNORED
    logits = model(batch.ids_BT)[trained]
    kl = divergence(logits / temperature, *(batch.extras[name][trained] for name in batch.extras), direction).sum()
    plain = share * temperature**2 * kl
    plain = plain + (1 - share) * F.cross_entropy(logits, batch.targets_BT[trained], reduction="sum")
    plain.backward()
    assert torch.allclose(found, plain, rtol=1e-6, atol=1e-6)
    for name, parameter in model.named_parameters():
        assert torch.allclose(gradients[name], parameter.grad, rtol=1e-4, atol=1e-5), name


def test_no_share_is_the_text_alone() -> None:
    model, batch = small_decoder(), batch_of()
    assert torch.equal(Distil(share=0.0)(model, batch), Causal()(model, batch))


def test_logits_of_all_tokens_are_never_held() -> None:
    model, batch = small_decoder(), batch_of()
    sizes: list[int] = []
    model.head = counting(model.head, sizes)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(distil, "LOGITS_AT_ONCE", 4 * VOCAB)
        Distil(share=1.0)(model, batch).backward()
    assert max(sizes) == 4 and sum(sizes) == 2 * batch.num_trained  # once more for the gradient


def counting(head: Callable[[torch.Tensor], torch.Tensor], sizes: list[int]) -> Callable[[torch.Tensor], torch.Tensor]:
    def count(states: torch.Tensor) -> torch.Tensor:
        sizes.append(len(states))
        return head(states)

    return count


@pytest.mark.parametrize("share", [0.5, 1.0])
def test_nothing_trained_is_zero_with_a_gradient(share: float) -> None:
    """A process's part of a batch may be rows that only fill up."""
    model, batch = small_decoder(), batch_of()
    empty = replace(batch, targets_BT=torch.full_like(batch.targets_BT, IGNORED))
    loss = Distil(share=share)(model, empty)
    loss.backward()
    assert float(loss.detach()) == 0
