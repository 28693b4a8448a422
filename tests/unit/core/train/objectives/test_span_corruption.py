"""Span corruption: source and target together are the text; lengths follow from the text's length alone."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from hanlin.core.model.encoder_decoder import EncoderDecoder
from hanlin.core.model.families import t5
from hanlin.core.train.batch import IGNORED
from hanlin.core.train.initialise import initialise
from hanlin.core.train.objectives.span_corruption import SpanCorruption, Spans, corrupt, pair_up, random_parts

VOCAB, PAD, STOP = 200, 0, 1
SENTINELS = tuple(range(100, 200))
SPANS = Spans(SENTINELS, STOP)

spans = st.builds(Spans, st.just(SENTINELS), st.just(STOP), st.floats(0.02, 0.5), st.floats(1, 9))
lengths = st.integers(2, 150)


def random_text(length: int, seed: int = 0) -> list[int]:
    return np.random.default_rng(seed).integers(2, 100, length).tolist()


def put_back(source: list[int], target: list[int]) -> list[int]:
    """The text: each sentinel of the source replaced by what follows it in the target."""
    marks = [place for place, token in enumerate(target) if token in SENTINELS]
    taken = {target[first]: target[first + 1 : last] for first, last in pairwise(marks)}
    assert [target[mark] for mark in marks] == list(SENTINELS[: len(marks)])  # in order, one more than spans
    assert marks[-1] == len(target) - 2 and source[-1] == target[-1] == STOP
    return [token for seen in source[:-1] for token in taken.get(seen, [seen])]


@given(lengths, spans, st.integers(0, 999))
def test_source_and_target_are_the_text(length: int, spans: Spans, seed: int) -> None:
    text = random_text(length, seed)
    source, target = corrupt(text, spans, np.random.default_rng(seed))
    assert put_back(source, target) == text
    assert (len(source), len(target)) == spans.lengths(length)
    cut, count = spans.counts(length)
    assert 1 <= count <= cut < length
    assert sum(token in SENTINELS for token in source) == count
    assert source[0] == text[0] and source[-2] in SENTINELS  # it begins with what stays and ends with a span


@given(st.integers(2, 5000))
def test_the_papers_numbers(length: int) -> None:
    cut, count = SPANS.counts(length)
    assert abs(cut - 0.15 * length) <= 0.5 or cut == 1
    assert abs(count - cut / 3) <= 0.5 or count == 1


def test_five_hundred_and_twelve_tokens_of_source() -> None:
    """T5's own input of 512 tokens comes from a text of 568 and has a target of 114 (plus the last sentinel here)."""
    assert SPANS.longest_text(512) == 568 and SPANS.lengths(568) == (512, 115)


@given(spans, st.integers(5, 200))
def test_the_longest_text_fits_and_a_longer_one_does_not(spans: Spans, context: int) -> None:
    longest = spans.longest_text(context)
    assert longest >= 2 and max(spans.lengths(longest)) <= context < max(spans.lengths(longest + 1))


@given(st.integers(1, 60), st.data())
def test_parts_add_up_and_none_is_empty(total: int, data: st.DataObject) -> None:
    parts = data.draw(st.integers(1, total))
    found = random_parts(total, parts, np.random.default_rng(data.draw(st.integers(0, 99))))
    assert len(found) == parts and sum(found) == total and min(found) >= 1


def test_every_way_of_cutting_is_as_likely() -> None:
    random = np.random.default_rng(0)
    ways = [tuple(random_parts(6, 3, random)) for _ in range(10_000)]
    counts = np.array([ways.count(way) for way in sorted(set(ways))])
    assert len(counts) == 10 and abs(counts - 1000).max() < 4 * 30  # 10 ways; four standard deviations


def test_more_spans_than_sentinels_are_refused() -> None:
    with pytest.raises(ValueError, match="8 spans need 9 sentinels; there are 8"):
        corrupt(random_text(160), Spans(SENTINELS[:8], STOP), np.random.default_rng(0))


def test_the_decoder_reads_the_target_one_token_late() -> None:
    pairs = [corrupt(random_text(n, n), SPANS, np.random.default_rng(n)) for n in (40, 9)]
    batch = pair_up(pairs, start_id=7, pad_id=PAD, rows=(3, 5))
    assert batch.rows == (3, 5)
    for row, (source, target) in enumerate(pairs):
        assert batch.targets_BT[row, : len(target)].tolist() == target
        assert (batch.targets_BT[row, len(target) :] == IGNORED).all()
        assert batch.ids_BT[row, : len(target)].tolist() == [7, *target[:-1]]
        assert batch.extras["source_ids"][row][batch.extras["source_present"][row]].tolist() == source


def small_model() -> EncoderDecoder:
    model = t5.build(
        t5.new_config(
            vocab_size=VOCAB,
            width=32,
            num_layers=2,
            num_heads=2,
            head_width=16,
            hidden=48,
            max_positions=64,
            pad_id=PAD,
            stop_id=STOP,
            start_id=PAD,
        )
    )
    initialise(model, 0)
    random = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.empty_like(parameter).normal_(0, 0.05, generator=random))
    return model


def test_a_row_is_itself_in_any_company() -> None:
    """Alone, beside a longer one, or beside a row that only fills up: the same loss, and gradients that are numbers."""
    model = small_model()
    pairs = [corrupt(random_text(n, n), SPANS, np.random.default_rng(n)) for n in (50, 12)]
    alone = [SpanCorruption()(model, pair_up([pair], PAD, PAD)) for pair in pairs]
    together = pair_up(pairs, PAD, PAD)
    assert torch.allclose(SpanCorruption()(model, together), sum(alone), rtol=1e-5)
    filled = together.share(2, 3)
    assert filled.num_trained == 0
    empty = SpanCorruption()(model, filled)
    empty.backward()
    assert float(empty.detach()) == 0
    assert all(p.grad is None or torch.isfinite(p.grad).all() for p in model.parameters())


@torch.no_grad()
def test_scores_begin_with_unit_variance() -> None:
    """T5's scores are not divided by √D: queries begin so much smaller. (Else one token takes all attention.)"""
    model = t5.build(
        t5.new_config(
            vocab_size=VOCAB,
            width=128,
            num_layers=1,
            num_heads=2,
            head_width=64,
            hidden=48,
            max_positions=64,
            pad_id=PAD,
            stop_id=STOP,
            start_id=PAD,
        )
    )
    initialise(model, 0)
    attention = model.encoder.layers[0].attention
    x_NC = torch.randn(500, 128, generator=torch.Generator().manual_seed(0))
    q, k = (proj(x_NC)[:, :64] for proj in (attention.q_proj, attention.k_proj))
    assert float((q @ k.T * attention.scale).std()) == pytest.approx(1, rel=0.1)
    logits = model(torch.arange(20)[None], torch.arange(9)[None])
    loss = F.cross_entropy(logits.flatten(0, 1), torch.arange(9))
    assert float(loss) == pytest.approx(np.log(VOCAB), rel=0.1)
