"""Drawing the next token: the distribution, draws from it, what was seen."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hanlin.core.generate.sampling import GREEDY, Sampler, Sampling, breakers_of
from hanlin.core.run.config import build
from hanlin.core.run.errors import HanlinError
from hanlin.core.text.tokenizer import Tokenizer

PLAIN = Sampling(temperature=1, top_p=1, repetition_penalty=1)
LOGITS = st.lists(st.floats(-20, 20, width=32), min_size=1, max_size=30).map(torch.tensor)
SAMPLINGS = st.builds(
    Sampling,
    temperature=st.floats(0.05, 5),
    top_k=st.integers(0, 40),
    top_p=st.floats(0.01, 1),
    min_p=st.floats(0, 0.99),
    typical_p=st.floats(0.01, 1),
    repetition_penalty=st.floats(0.5, 2),
    frequency_penalty=st.floats(-2, 2),
    presence_penalty=st.floats(-2, 2),
    dry_multiplier=st.floats(0, 2),
    seed=st.integers(0, 2**62),
)


def sampler_after(sampling: Sampling, prompt: list[int], reply: list[int]) -> Sampler:
    sampler = Sampler(sampling, prompt)
    for token in reply:
        sampler.saw(token)
    return sampler


@given(LOGITS, SAMPLINGS, st.data())
def test_always_a_distribution(logits: torch.Tensor, sampling: Sampling, data: st.DataObject) -> None:
    """Summing to 1, only of what is allowed, pure, and what is drawn has a share in it."""
    ids = st.lists(st.integers(0, len(logits) - 1), max_size=20)
    sampler = sampler_after(sampling, data.draw(ids), data.draw(ids))
    allowed = torch.tensor(data.draw(st.lists(st.booleans(), min_size=len(logits), max_size=len(logits))))
    allowed[data.draw(st.integers(0, len(logits) - 1))] = True
    shares = sampler.distribution(logits, allowed)
    assert shares.dtype == torch.float32 and shares.shape == logits.shape
    assert shares.sum().item() == pytest.approx(1, abs=1e-5)
    assert not shares[~allowed].any()
    assert sampler.distribution(logits, allowed).equal(shares)
    assert shares[sampler.draw(logits, allowed)] > 0
    everything = torch.ones_like(allowed)
    assert sampler.distribution(logits, everything).equal(sampler.distribution(logits))


@given(LOGITS, st.floats(0.05, 5), st.integers(0, 40), st.floats(0.01, 1), st.floats(0, 0.99))
def test_filters_only_remove(logits: torch.Tensor, temperature: float, k: int, p: float, m: float) -> None:
    """What is left keeps its proportions, and the likeliest is left."""
    plain = PLAIN.model_copy(update={"temperature": temperature})
    before = Sampler(plain, []).distribution(logits)
    after = Sampler(plain.model_copy(update={"top_k": k, "top_p": p, "min_p": m}), []).distribution(logits)
    left = after > 0
    torch.testing.assert_close(after[left], before[left] / before[left].sum(), atol=1e-6, rtol=1e-5)
    assert after[logits == logits.max()].any()


@given(LOGITS)
def test_greedy_takes_the_likeliest(logits: torch.Tensor) -> None:
    sampler = Sampler(GREEDY, [])
    assert sampler.draw(logits) == int(logits.argmax())
    assert sampler.distribution(logits).tolist() == [float(i == logits.argmax()) for i in range(len(logits))]


def test_almost_no_temperature_is_greedy() -> None:
    sampling = Sampling(temperature=1e-40, repetition_penalty=1)
    assert Sampler(sampling, []).draw(torch.tensor([1.0, 3.0, 2.0])) == 1


def test_greedy_within_what_is_allowed() -> None:
    logits, allowed = torch.tensor([1.0, 3.0, 2.0]), torch.tensor([True, False, True])
    assert Sampler(GREEDY, []).draw(logits, allowed) == 2
    assert Sampler(GREEDY, []).distribution(logits, allowed).tolist() == [0, 0, 1]


@given(st.integers(-(2**63), 2**63 - 1))
def test_the_seed_decides(seed: int) -> None:
    logits = torch.zeros(100_000)

    def draws(seed: int) -> list[int]:
        sampler = Sampler(PLAIN.model_copy(update={"seed": seed}), [])
        return [sampler.draw(logits) for _ in range(3)]

    assert draws(seed) == draws(seed) != draws(seed ^ 1)


def test_without_a_seed_torch_decides() -> None:
    def draws() -> list[int]:
        return [Sampler(PLAIN, []).draw(torch.zeros(100_000)) for _ in range(3)]

    torch.manual_seed(5)
    first = draws()
    assert len(set(first)) == 3 and draws() != first
    torch.manual_seed(5)
    assert draws() == first


@pytest.mark.parametrize("vocab_size", [3, 20_000])
def test_draws_follow_the_distribution(vocab_size: int) -> None:
    logits = torch.full((vocab_size,), -20.0)
    logits[[0, vocab_size // 2, vocab_size - 1]] = torch.tensor([0.6, 0.3, 0.1]).log()
    sampler = Sampler(PLAIN.model_copy(update={"seed": 0, "top_p": 0.9999}), [])
    counts = torch.bincount(torch.tensor([sampler.draw(logits) for _ in range(4000)]), minlength=vocab_size) / 4000
    assert counts[[0, vocab_size // 2, vocab_size - 1]].tolist() == pytest.approx([0.6, 0.3, 0.1], abs=0.03)
    assert counts[[0, vocab_size // 2, vocab_size - 1]].sum() == pytest.approx(1)


@given(SAMPLINGS, st.lists(st.integers(0, 29), max_size=100), st.lists(st.integers(0, 29), min_size=1, max_size=100))
def test_a_copy_goes_its_own_way(sampling: Sampling, before: list[int], after: list[int]) -> None:
    logits = torch.linspace(-2, 2, 30)
    sampler = sampler_after(sampling, [1, 2], before)
    shares = sampler.distribution(logits)
    other = sampler.copy()
    for token in after:
        other.saw(token)
    assert sampler.distribution(logits).equal(shares)
    assert other.distribution(logits).equal(sampler_after(sampling, [1, 2], before + after).distribution(logits))
    assert other.random is sampler.random


def test_prompt_and_reply_count_as_they_should() -> None:
    """Repetition counts both, frequency and presence the reply alone."""
    logits = torch.zeros(4) + 1.0

    def shares(**options: float) -> list[float]:
        sampling = PLAIN.model_copy(update=options)
        return sampler_after(sampling, [0, 0, 1], [1, 2, 2]).distribution(logits).log().tolist()

    repetition = shares(repetition_penalty=2.0)
    assert [repetition[3] - share for share in repetition] == pytest.approx([0.5, 0.5, 0.5, 0])
    additive = shares(frequency_penalty=0.3, presence_penalty=0.1)
    assert [additive[3] - share for share in additive] == pytest.approx([0, 0.4, 0.7, 0], abs=1e-6)


def test_works_across_inference_mode() -> None:
    with torch.inference_mode():
        sampler = Sampler(Sampling(seed=0), [1])
        sampler.saw(2)
    sampler.saw(3)
    with torch.inference_mode():
        sampler.copy().saw(4)
    assert sampler.draw(torch.zeros(5)) in range(5)


@pytest.mark.parametrize("sampling", [GREEDY, Sampling(), Sampling(mirostat=2)])
def test_nothing_left_is_an_error(sampling: Sampling) -> None:
    with pytest.raises(HanlinError, match="No token may come next"):
        Sampler(sampling, []).draw(torch.zeros(3), torch.zeros(3, dtype=torch.bool))
    with pytest.raises(HanlinError, match="No token may come next"):
        Sampler(sampling.model_copy(update={"no_repeat_ngram": 1}), [0, 1, 2]).draw(torch.zeros(3))


def test_bfloat16_logits_are_drawn_from_in_float32() -> None:
    logits = torch.randn(500, generator=torch.Generator().manual_seed(0)).bfloat16()
    shares = Sampler(Sampling(), [3]).distribution(logits)
    assert shares.equal(Sampler(Sampling(), [3]).distribution(logits.float()))


def test_breakers_are_looked_for_when_dry_is_on(tiny_tokenizer: Tokenizer) -> None:
    assert not breakers_of(Sampling(), tiny_tokenizer)
    assert (tiny_tokenizer.encode("\n")[0],) in breakers_of(Sampling(dry_multiplier=1), tiny_tokenizer)


@pytest.mark.parametrize(
    "option",
    [
        {"temperature": -1},
        {"top_p": 0},
        {"top_p": 1.1},
        {"min_p": 1},
        {"typical_p": 0},
        {"repetition_penalty": 0},
        {"frequency_penalty": 3},
        {"no_repeat_ngram": -1},
        {"dry_base": 0.5},
        {"mirostat": 3},
        {"max_tokens": 0},
        {"topp": 1},
        {"script": "zh-CN"},
    ],
)
def test_impossible_options_are_refused(option: dict[str, Any]) -> None:
    with pytest.raises(HanlinError):
        build(Sampling, option, "generate")


@pytest.mark.parametrize(
    "options, reason",
    [
        ({"regex": "a+", "json_schema": "{}"}, "json_schema already gives it"),
        ({"grammar": "start: X", "regex": "a+"}, "regex already gives it"),
        ({"choices": ["是", "否"], "grammar": "start: X"}, "grammar already gives it"),
        ({"mirostat": 2, "top_k": 40}, "leave top_k out"),
        ({"mirostat": 1, "typical_p": 0.9}, "leave typical_p out"),
    ],
)
def test_options_that_exclude_each_other(options: dict[str, Any], reason: str) -> None:
    with pytest.raises(HanlinError, match=reason):
        build(Sampling, options, "generate")
