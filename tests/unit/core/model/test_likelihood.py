"""Held-out likelihood: every token of every document predicted exactly once, whatever the context."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from toy import VOCAB, small_decoder

from hanlin.core.model import likelihood as module
from hanlin.core.model.likelihood import Likelihood, document_likelihood, each_likelihood

MODEL = small_decoder()
DOCUMENTS = st.lists(st.lists(st.integers(0, VOCAB - 1), max_size=40), max_size=12)


def plain(documents: list[list[int]], context: int) -> tuple[float, int]:
    """Token by token: each reads what its own window holds before it."""
    nats, tokens = 0.0, 0
    for ids in documents:
        for place in range(1, len(ids)):
            start = (place - 1) // context * context
            with torch.no_grad():
                log_p = MODEL(torch.tensor([ids[start:place]]))[0, -1].log_softmax(-1)
            nats -= float(log_p[ids[place]])
            tokens += 1
    return nats, tokens


@given(DOCUMENTS, st.integers(1, 32))
def test_each_token_is_predicted_once(documents: list[list[int]], context: int) -> None:
    found = document_likelihood(MODEL, [(ids, len(ids)) for ids in documents], context)
    assert found.tokens == sum(max(0, len(ids) - 1) for ids in documents)
    assert found.characters == sum(map(len, documents))


@given(DOCUMENTS, st.integers(1, 32))
def test_windows_join_to_the_document(documents: list[list[int]], context: int) -> None:
    """What is handed to the model: overlapping by the one token that is only read."""
    seen: list[list[int]] = []
    real = module._sum_nats
    module._sum_nats = lambda model, rows: seen.extend(map(list, rows)) or 0.0
    try:
        document_likelihood(MODEL, [(ids, 1) for ids in documents], context)
    finally:
        module._sum_nats = real
    targets = sorted(token for row in seen for token in row[1:])
    assert targets == sorted(token for ids in documents for token in ids[1:])
    assert all(1 < len(row) <= context + 1 for row in seen)


@settings(max_examples=10)
@given(
    st.lists(st.lists(st.integers(0, VOCAB - 1), min_size=1, max_size=20), min_size=1, max_size=10),
    st.sampled_from([1, 3, 8, 32]),
)
def test_equal_to_the_plain_loop(documents: list[list[int]], context: int) -> None:
    found = document_likelihood(MODEL, [(ids, 1) for ids in documents], context)
    nats, tokens = plain(documents, context)
    assert found.tokens == tokens and found.nats == pytest.approx(nats, rel=1e-5, abs=1e-6)


@settings(max_examples=10)
@given(DOCUMENTS, st.sampled_from([1, 3, 8, 32]))
def test_each_by_itself(documents: list[list[int]], context: int) -> None:
    module.TOKENS_AT_ONCE, before = 64, module.TOKENS_AT_ONCE
    try:
        found = each_likelihood(MODEL, [(ids, len(ids)) for ids in documents], context)
    finally:
        module.TOKENS_AT_ONCE = before
    assert len(found) == len(documents)
    for ids, one in zip(documents, found):
        alone = document_likelihood(MODEL, [(ids, len(ids))], context)
        assert (one.tokens, one.characters) == (alone.tokens, alone.characters)
        assert one.nats == pytest.approx(alone.nats, rel=1e-5, abs=1e-6)


def test_units() -> None:
    found = Likelihood(nats=math.log(2) * 30, tokens=10, characters=15)
    assert found.bits_per_character == pytest.approx(2) and found.nats_per_token == pytest.approx(3 * math.log(2))


def test_nothing_to_read() -> None:
    found = document_likelihood(MODEL, [], 8)
    assert (found.nats, found.tokens, found.bits_per_character, found.nats_per_token) == (0, 0, 0, 0)


def test_the_model_stays_trainable() -> None:
    """Inference mode must not leak into the training that goes on afterwards."""
    document_likelihood(MODEL, [([1, 2, 3], 3)], 8)
    MODEL(torch.tensor([[1, 2]])).sum().backward()
    assert MODEL.embed_tokens.weight.grad is not None
