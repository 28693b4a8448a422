"""Guesses don't change what texts are likely: the rule by itself, and whole texts against the probabilities that the
model gives them when it is asked about every text there is."""

from __future__ import annotations

import copy
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_families import tiny_model

from hanlin.core.generate.engine import Engine
from hanlin.core.generate.options import EngineOptions
from hanlin.core.generate.sampling import Sampler, Sampling
from hanlin.core.generate.speculate.accept import draw_from, stand_or_replace
from hanlin.core.generate.speculate.draft import SmallModel
from hanlin.core.generate.speculate.early import Early
from hanlin.core.model.pretrained import Pretrained
from hanlin.core.text.tokenizer import Tokenizer

UNLIKELY = 6.0
"""Standard deviations of chi-square beyond which a distribution is another one (one in many millions by chance)."""

shares = st.lists(st.integers(0, 9), min_size=5, max_size=5).filter(any)


def chi_square_deviations(counts: Sequence[float], expected: Sequence[float]) -> float:
    """How many standard deviations Σ (count − expected)²/expected lies above its mean; outcomes expected less than 5
    times are put together."""
    pairs = sorted(zip(expected, counts))
    rare = [pair for pair in pairs if pair[0] < 5]
    pairs = pairs[len(rare) :]
    if rare:
        pairs.append((sum(e for e, _ in rare), sum(c for _, c in rare)))
    assert all(e > 0 or c == 0 for e, c in pairs), "what can't come came"
    pairs = [pair for pair in pairs if pair[0] > 0]
    freedom = max(1, len(pairs) - 1)
    statistic = sum((c - e) ** 2 / e for e, c in pairs)
    # Wilson and Hilferty: the cube root of chi-square by its freedom is nearly normal.
    return ((statistic / freedom) ** (1 / 3) - (1 - 2 / (9 * freedom))) / math.sqrt(2 / (9 * freedom))


@settings(max_examples=20)
@given(p=shares, q=shares, seed=st.integers(0, 10_000))
def test_a_token_is_distributed_as_the_model_says(p: list[int], q: list[int], seed: int) -> None:
    random = torch.Generator().manual_seed(seed)
    p_V, q_V = (torch.tensor(x, dtype=torch.float32) / sum(x) for x in (p, q))
    times = 2000
    drawn = Counter(stand_or_replace(p_V, q_V, draw_from(q_V, random), random) for _ in range(times))
    assert chi_square_deviations([drawn[x] for x in range(5)], (p_V * times).tolist()) < UNLIKELY


@given(p=shares, seed=st.integers(0, 100))
def test_a_model_that_guesses_for_itself_is_always_right(p: list[int], seed: int) -> None:
    random = torch.Generator().manual_seed(seed)
    p_V = torch.tensor(p, dtype=torch.float32) / sum(p)
    guess = draw_from(p_V, random)
    assert p_V[guess] > 0 and stand_or_replace(p_V, p_V.clone(), guess, random) == guess


def test_the_test_sees_another_distribution() -> None:
    """Were wrong guesses replaced by a draw from p itself, it would show."""
    random = torch.Generator().manual_seed(0)
    p_V, q_V = torch.tensor([0.5, 0.3, 0.2]), torch.tensor([0.2, 0.3, 0.5])
    drawn: Counter[int] = Counter()
    for _ in range(5000):
        guess = draw_from(q_V, random)
        stands = float(torch.rand((), generator=random)) * q_V[guess] < p_V[guess]
        drawn[guess if stands else draw_from(p_V, random)] += 1
    assert chi_square_deviations([drawn[x] for x in range(3)], (p_V * 5000).tolist()) > UNLIKELY


class OneIn:
    """A constraint: which tokens may come hangs on how many have come."""

    def __init__(self, allowed: Sequence[Sequence[int]], vocab_size: int):
        self.allowed_ids, self.vocab_size, self.num_tokens = allowed, vocab_size, 0

    def allowed(self) -> torch.Tensor:
        mask = torch.zeros(self.vocab_size, dtype=torch.bool)
        mask[list(self.allowed_ids[self.num_tokens % len(self.allowed_ids)])] = True
        return mask

    def accept(self, token: int) -> None:
        assert self.allowed()[token]
        self.num_tokens += 1

    def rollback(self, num_tokens: int) -> None:
        self.num_tokens -= num_tokens
        assert self.num_tokens >= 0


LENGTH = 4
ALLOWED = ((5, 80, 200, 300), (7, 90, 310), (5, 80, 91, 300))
HOW = {
    "temperature": Sampling(temperature=1.5, top_k=3, top_p=1, repetition_penalty=1, max_tokens=LENGTH),
    "penalties": Sampling(
        temperature=1.3, top_k=4, top_p=0.9, repetition_penalty=1.5, presence_penalty=1, max_tokens=LENGTH
    ),
    "constraint": Sampling(temperature=2, top_p=1, repetition_penalty=1.2, max_tokens=LENGTH),
}


def probabilities(
    loaded: Pretrained, prompt: list[int], how: Sampling, constraint: bool
) -> dict[tuple[int, ...], float]:
    """Of every text of LENGTH tokens: the product of what the model, asked anew each time, gives its tokens."""
    known: dict[tuple[int, ...], float] = {(): 1.0}
    for place in range(LENGTH):
        longer: dict[tuple[int, ...], float] = {}
        for text, share in known.items():
            sampler = Sampler(how, prompt)
            for token in text:
                sampler.saw(token)
            logits_V = loaded(torch.tensor([[*prompt, *text]]))[0, -1]
            allowed = None
            if constraint:
                allowed = torch.zeros(len(logits_V), dtype=torch.bool)
                allowed[list(ALLOWED[place % len(ALLOWED)])] = True
            p_V = sampler.distribution(logits_V, allowed)
            longer |= {(*text, int(token)): share * float(p_V[token]) for token in p_V.nonzero()[:, 0]}
        known = longer
    return known


def nearly(loaded: Pretrained, noise: float) -> Pretrained:
    """Its like, every number a little beside: it often says the same."""
    model, random = copy.deepcopy(loaded.model), torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.empty(parameter.shape).normal_(0, noise, generator=random))
    return replace(loaded, model=model)


@pytest.mark.parametrize(
    ("guesser", "how"),
    [
        ("draft", "temperature"),
        ("draft", "penalties"),
        ("draft", "constraint"),
        ("early", "constraint"),
        ("draft of a recurrent model", "temperature"),
    ],
)
def test_whole_texts_are_as_likely_as_the_model_says(tiny_tokenizer: Tokenizer, how: str, guesser: str) -> None:
    loaded = tiny_model("rwkv" if "recurrent" in guesser else "qwen3", tiny_tokenizer, seed=2)
    loaded.generation["eos_token_id"] = loaded.model.vocab_size  # no text ends before its time
    prompt = tiny_tokenizer.encode("憲法保障人民")
    sampling, times = HOW[how], 1000
    expected = probabilities(loaded, prompt, sampling, how == "constraint")
    assert math.isclose(sum(expected.values()), 1, abs_tol=1e-4) and len(expected) > 10
    options = EngineOptions(max_streams=64, cache_tokens=64 * 16, block_tokens=4, num_draft=2, max_waiting=times)
    engine = Engine(loaded, options)
    if guesser == "early":
        engine.speculator = Early(loaded, options, engine.passes)
    else:
        engine.speculator = SmallModel(nearly(loaded, 0.03), loaded, options, engine.blocks.num_blocks)
    tickets = [engine.submit(prompt, sampling.model_copy(update={"seed": seed})) for seed in range(times)]
    if how == "constraint":
        for ticket in tickets:
            ticket.constraint = OneIn(ALLOWED, loaded.model.vocab_size)
    while engine.busy:
        engine.step()
    engine.close()
    counts = Counter(tuple(piece.token for piece in ticket.pieces) for ticket in tickets)
    assert not set(counts) - set(expected)
    assert chi_square_deviations([counts[text] for text in expected], [p * times for p in expected.values()]) < UNLIKELY
    accepted, drafted = (sum(getattr(t, name) for t in tickets) for name in ("num_accepted", "num_drafted"))
    assert 0.1 * drafted < accepted < drafted, "some guesses stand and some don't, or nothing has been tested"
