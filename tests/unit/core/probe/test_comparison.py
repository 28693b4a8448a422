"""The figures of a card."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from samples import SENTENCES
from torch.distributions import Categorical, kl_divergence

from hanlin.core.generate.stream import text_prompt
from hanlin.core.model.ggml import Q8_0
from hanlin.core.model.gguf.writing import as_stored
from hanlin.core.model.likelihood import document_likelihood
from hanlin.core.model.pretrained import Pretrained, load
from hanlin.core.probe.comparison import (
    Card,
    compare,
    compare_logits,
    cut_windows,
    equal_start,
    greedy_match,
    greedy_replies,
    overspent,
    summarise,
)
from hanlin.core.text.tokenizer import Tokenizer


@pytest.fixture(scope="module")
def loaded(tiny_model_folder: Path) -> Pretrained:
    return load(tiny_model_folder)


def test_divergence_is_that_of_torch_distributions() -> None:
    before, after, targets = torch.randn(50, 40), torch.randn(50, 40), torch.randint(40, (50,))
    compared = compare_logits(before, after, targets)
    torch.testing.assert_close(compared.kl_N, kl_divergence(Categorical(logits=before), Categorical(logits=after)))
    torch.testing.assert_close(compared.loss_after_N, -Categorical(logits=after).log_prob(targets))
    assert torch.equal(compared.same_top1_N, before.argmax(-1) == after.argmax(-1))


def test_by_hand() -> None:
    """p = (1/2, 1/2), q = (1/4, 3/4): KL = ½ ln 2 + ½ ln ⅔."""
    compared = compare_logits(torch.tensor([[0.5, 0.5]]).log(), torch.tensor([[0.25, 0.75]]).log(), torch.tensor([0]))
    assert compared.kl_N.item() == pytest.approx(0.5 * math.log(2) + 0.5 * math.log(2 / 3))
    assert compared.loss_before_N.item() == pytest.approx(math.log(2))
    assert compared.loss_after_N.item() == pytest.approx(math.log(4))


def test_a_model_is_equal_to_itself(loaded: Pretrained) -> None:
    windows = cut_windows([text_prompt(loaded, sentence) for sentence in SENTENCES[:5]], loaded.tokenizer, 64, 200)
    prompts = [text_prompt(loaded, "台灣"), text_prompt(loaded, "憲法")]
    replies = greedy_replies(loaded, loaded.model, prompts, 16)
    match = greedy_match(replies, replies, 16)
    card = summarise(compare(loaded.model, loaded.model, windows), windows, match, 16)
    assert (card.kl_nats_mean, card.top1_agreement, card.greedy_match) == (0, 1, 16)
    assert card.bits_per_character_before == card.bits_per_character_after
    assert overspent(card, 1e-9, 1.0) == ""


def test_bits_per_character_is_that_of_the_evaluator(loaded: Pretrained) -> None:
    documents = [text_prompt(loaded, sentence) for sentence in SENTENCES]
    windows = cut_windows(documents, loaded.tokenizer, 256, 10_000)
    card = summarise(compare(loaded.model, as_stored(loaded, Q8_0), windows), windows, 0, 1)
    reference = document_likelihood(loaded.model, zip(documents, map(len, SENTENCES)), 256)
    assert card.num_tokens == reference.tokens
    assert card.bits_per_character_before == pytest.approx(reference.bits_per_character, rel=1e-5)
    assert 0 < card.kl_nats_mean < card.kl_nats_p99


@given(st.lists(st.sampled_from(SENTENCES), max_size=6), st.integers(1, 70), st.integers(1, 300))
def test_windows_predict_every_token_once_until_there_are_enough(
    tiny_tokenizer: Tokenizer, texts: list[str], context: int, num_tokens: int
) -> None:
    documents = [[0, *tiny_tokenizer.encode(text)] for text in texts]
    windows = cut_windows(documents, tiny_tokenizer, context, num_tokens)
    predicted = [token for window in windows for token in window.ids[1:]]
    assert predicted == [token for ids in documents for token in ids[1:]][:num_tokens]
    assert all(2 <= len(window.ids) <= context + 1 for window in windows)
    if texts and len(predicted) < num_tokens and context >= max(map(len, documents)):
        assert sum(window.characters for window in windows) == sum(map(len, texts))


def test_equal_start() -> None:
    assert equal_start([1, 2, 3], [1, 2, 4], 32) == 2
    assert equal_start([1, 2], [1, 2, 3], 32) == 2
    assert equal_start([1, 2], [1, 2], 32) == 32  # both ended there
    assert equal_start([], [5], 32) == 0


@pytest.mark.parametrize(
    ("kl", "agreement", "words"),
    [(0.01, 0.95, ""), (0.03, 0.95, "divergence"), (0.01, 0.8, "likeliest"), (math.nan, 1.0, "divergence")],
)
def test_budget(kl: float, agreement: float, words: str) -> None:
    problem = overspent(Card(10, kl, kl, agreement, 1.0, 1.0, 32.0, 32), 0.02, 0.9)
    assert (words in problem) and bool(problem) == bool(words)
