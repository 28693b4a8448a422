"""What is looked at while a model writes: passes and guesses, bytes and blocks, and the steps to a token."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tiny_families import tiny_model

from hanlin.core.generate.engine import Engine
from hanlin.core.generate.options import EngineOptions
from hanlin.core.generate.sampling import GREEDY, Sampler, Sampling
from hanlin.core.model.pretrained import Pretrained
from hanlin.core.probe.caching import ask, layer_kinds
from hanlin.core.probe.choosing import choose, stages
from hanlin.core.probe.speculation import Pass, watch
from hanlin.core.text.tokenizer import Tokenizer

REPEATED = [5, 6, 7, 8, 9] * 4


@pytest.fixture(scope="module")
def loaded(tiny_tokenizer: Tokenizer) -> Pretrained:
    plain = Tokenizer(tiny_tokenizer.backend, {**tiny_tokenizer.settings, "chat_template": None})
    return replace(tiny_model("qwen3", plain), generation={"eos_token_id": 10**6})


# Guesses.


@given(guessed=st.lists(st.integers(0, 2), max_size=4), written=st.lists(st.integers(0, 2), min_size=1, max_size=5))
def test_what_stood_comes_first(guessed: list[int], written: list[int]) -> None:
    stood = Pass(guessed, written).num_stood
    assert guessed[:stood] == written[:stood]
    assert stood in (len(guessed), len(written)) or guessed[stood] != written[stood]


@pytest.mark.parametrize("speculate", ["", "lookup", "early"])
def test_passes_add_up_to_what_the_engine_counts(loaded: Pretrained, speculate: str) -> None:
    sampling = GREEDY.model_copy(update={"max_tokens": 20})
    options = EngineOptions(speculate=speculate, num_draft=3)
    writing = watch(loaded, REPEATED, sampling, options)
    engine = Engine(loaded, options)
    ticket = engine.submit(REPEATED, sampling)
    while engine.busy:
        engine.step()
    assert writing.tokens == [piece.token for piece in ticket.pieces] and len(writing.tokens) == 20
    assert (writing.num_guessed, writing.num_stood) == (ticket.num_drafted, ticket.num_accepted)
    assert len(writing.passes) == 20 - writing.num_stood
    assert writing.passes[0].guessed == [] and len(writing.passes[0].written) == 1
    assert all(len(one.written) <= one.num_stood + 1 for one in writing.passes)
    assert bool(writing.num_guessed) == bool(speculate)


def test_a_reply_of_one_token(loaded: Pretrained) -> None:
    writing = watch(loaded, REPEATED, GREEDY.model_copy(update={"max_tokens": 1}), EngineOptions(speculate="lookup"))
    assert len(writing.passes) == 1 and writing.seconds == 0


# The cache.


@pytest.mark.parametrize(
    ("family", "names", "per_token", "per_text"),
    [
        ("qwen3", {"attention": 3}, 3 * 2 * 2 * 8 * 4, 0),
        ("gemma3", {"attention, window 10": 2, "attention": 1}, 3 * 2 * 2 * 8 * 4, 0),
        ("rwkv", {"recurrent state": 3}, 0, 3 * 4 * 32 * 4),
    ],
)
def test_bytes_by_kind_of_layer(
    tiny_tokenizer: Tokenizer, family: str, names: dict[str, int], per_token: int, per_text: int
) -> None:
    """Keys and values: layers · 2 · K · D numbers of 4 bytes a token."""
    engine = Engine(tiny_model(family, tiny_tokenizer), EngineOptions(cache_tokens=96))
    kinds = layer_kinds(engine)
    assert {kind.name: kind.num_layers for kind in kinds} == names
    assert sum(kind.bytes_per_token for kind in kinds) == per_token
    assert sum(kind.bytes_per_text for kind in kinds) == per_text


def test_int8_takes_a_quarter_and_its_scales(loaded: Pretrained) -> None:
    (kind,) = layer_kinds(Engine(loaded, EngineOptions(cache_tokens=96, cache="int8")))
    assert kind.bytes_per_token == 3 * 2 * 2 * (8 + 4)


def test_what_a_second_prompt_shares(loaded: Pretrained) -> None:
    engine = Engine(loaded, EngineOptions(cache_tokens=96, block_tokens=4, chunk_tokens=7))
    first, again, half = (ask(engine, ids) for ids in (REPEATED[:18], REPEATED[:18], REPEATED[:9]))
    assert (first.num_tokens, first.num_shared, first.num_blocks) == (18, 0, 5)
    assert (again.num_shared, half.num_shared) == (16, 8)
    assert engine.blocks.num_available == engine.blocks.num_blocks


# The next token.


@pytest.mark.parametrize(
    "sampling",
    [
        Sampling(seed=1),
        Sampling(seed=1, temperature=0),
        Sampling(seed=2, top_k=40, min_p=0.05, typical_p=0.8, no_repeat_ngram=2, dry_multiplier=1),
        Sampling(seed=3, mirostat=2, mirostat_tau=2),
        Sampling(seed=3, temperature=1, top_p=1, repetition_penalty=1),
    ],
)
def test_the_last_step_is_what_is_drawn_from(loaded: Pretrained, sampling: Sampling) -> None:
    choice = choose(loaded, REPEATED, sampling)
    logits_V = loaded(torch.tensor([REPEATED]))[0, -1]
    torch.testing.assert_close(choice.steps[0].probabilities_V, logits_V.softmax(-1))
    torch.testing.assert_close(choice.steps[-1].probabilities_V, Sampler(sampling, REPEATED).distribution(logits_V))
    assert choice.token == Sampler(sampling, REPEATED).draw(logits_V)
    assert choice.steps[-1].probabilities_V[choice.token] > 0
    lefts = [step.num_left for step in choice.steps]
    assert lefts == sorted(lefts, reverse=True) and lefts[0] == loaded.model.vocab_size
    if sampling.is_greedy:
        assert (choice.steps[-1].num_left, choice.steps[-1].bits) == (1, 0)


@pytest.mark.parametrize(
    ("options", "names"),
    [
        ({}, ["", "repetition_penalty", "temperature", "top_p"]),
        ({"temperature": 0, "top_k": 5}, ["", "repetition_penalty", "temperature"]),
        ({"temperature": 1, "top_p": 1, "repetition_penalty": 1}, [""]),
        (
            {"min_p": 0.1, "top_k": 9, "typical_p": 0.9},
            ["", "repetition_penalty", "temperature", "top_k", "top_p", "min_p", "typical_p"],
        ),
        ({"mirostat": 2}, ["", "repetition_penalty", "temperature", "mirostat"]),
        ({"mirostat_tau": 2, "dry_base": 2}, ["", "repetition_penalty", "temperature", "top_p"]),
        (
            {"regex": "a+", "dry_multiplier": 1},
            ["", "repetition_penalty", "dry_multiplier", "regex", "temperature", "top_p"],
        ),
    ],
)
def test_steps_that_are_off_are_left_out(options: dict[str, object], names: list[str]) -> None:
    assert [name for name, _ in stages(Sampling(**options))] == names


def test_a_form_is_a_step_of_its_own(tiny_tokenizer: Tokenizer) -> None:
    choice = choose(tiny_model("qwen3", tiny_tokenizer), REPEATED, Sampling(choices=("台灣", "憲法"), seed=0))
    (form,) = [step for step in choice.steps if step.name == "choices"]
    can_begin = [token for token, text in enumerate(tiny_tokenizer.token_bytes) if text and text[:1] in b"\xe5\xe6"]
    assert 0 < form.num_left < 20 and set(form.probabilities_V.nonzero()[:, 0].tolist()) <= set(can_begin)
    assert choice.token in can_begin
