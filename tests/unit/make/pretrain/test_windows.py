"""Windows: every token is learned, no document sees another, padding is neither seen nor trained."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from toy import VOCAB, small_decoder

from hanlin.core.run.errors import HanlinError
from hanlin.core.text.shards import Documents
from hanlin.core.train.batch import IGNORED
from hanlin.core.train.objectives.causal import Causal
from hanlin.make.pretrain.windows import Windows, place_windows

PAD = VOCAB - 1
LENGTHS = st.lists(st.integers(1, 90), min_size=1, max_size=12)


def documents_of(lengths: list[int]) -> Documents:
    """Documents whose tokens are all different numbers: 1000 · document + place."""
    ids = [1000 * (number + 1) + np.arange(length) for number, length in enumerate(lengths)]
    starts = np.cumsum([0, *lengths[:-1]])
    names = tuple(f"doc-{number}" for number in range(len(lengths)))
    return Documents((np.concatenate(ids),), (starts,), names, tuple(lengths))


@given(LENGTHS, st.integers(1, 40))
def test_each_token_but_the_first_is_a_target(lengths: list[int], context: int) -> None:
    targets: Counter[tuple[int, int]] = Counter()
    for document, start in place_windows(lengths, context):
        assert 0 <= start < lengths[document] - 1
        end = min(start + context + 1, lengths[document])
        targets.update((int(document), place) for place in range(start + 1, end))
    wanted = {(document, place) for document, length in enumerate(lengths) for place in range(1, length)}
    assert set(targets) == wanted


@given(LENGTHS, st.integers(1, 40))
def test_windows_are_as_few_as_they_can_be(lengths: list[int], context: int) -> None:
    assert len(place_windows(lengths, context)) == sum(-(-(length - 1) // context) for length in lengths)


@given(LENGTHS.filter(lambda lengths: max(lengths) > 1), st.integers(1, 40), st.integers(1, 5), st.integers(0, 99))
def test_no_window_crosses_a_document(lengths: list[int], context: int, batch_rows: int, seed: int) -> None:
    windows = Windows(documents_of(lengths), context, batch_rows, seed, pad_id=0)
    learned = set()
    for step in range(-(-len(windows) // batch_rows)):
        batch = windows(step)
        assert batch.ids_BT.shape == batch.targets_BT.shape == (batch_rows, context)
        for ids, targets, row in zip(batch.ids_BT, batch.targets_BT, batch.rows):
            real = ids[ids > 0]
            document = int(real[0]) // 1000
            assert {int(token) // 1000 for token in real} == {document}
            assert windows.describe(row) == f"doc-{document - 1}"
            trained = targets != IGNORED
            assert trained.any() and torch.equal(targets[trained], ids[trained] + 1)  # the next token, of the same text
            learned.update(targets[trained].tolist())
    assert learned == {
        1000 * (number + 1) + place for number, length in enumerate(lengths) for place in range(1, length)
    }


def small(lengths: list[int]) -> Documents:
    random = np.random.default_rng(0)
    ids = [random.integers(0, PAD, length) for length in lengths]
    starts = np.cumsum([0, *lengths[:-1]])
    return Documents((np.concatenate(ids),), (starts,), tuple(map(str, lengths)), tuple(lengths))


@torch.no_grad()
def test_a_padded_document_is_the_document_alone() -> None:
    """Logits, and the loss: what stands beside it in the batch and behind it in the row changes nothing."""
    model = small_decoder()
    lengths = [5, 30, 12, 2]
    documents = small(lengths)
    windows = Windows(documents, context=31, batch_rows=4, seed=0, pad_id=PAD)
    batch = windows(0)
    together = model(batch.ids_BT)
    whole, alone = float(Causal()(model, batch)), 0.0
    for place, row in enumerate(batch.rows):
        ids = torch.tensor(list(documents)[windows.places[row][0]])
        logits = model(ids[None, :-1])[0]
        assert torch.allclose(together[place, : len(ids) - 1], logits, atol=1e-5)
        alone += float(torch.nn.functional.cross_entropy(logits, ids[1:], reduction="sum"))
    assert whole == pytest.approx(alone, rel=1e-5)


@given(st.integers(0, 30), st.integers(0, 99))
def test_a_step_is_a_pure_function_of_seed_and_step(step: int, seed: int) -> None:
    one, other = (Windows(documents_of([40, 7, 90]), 16, 3, seed, 0) for _ in range(2))
    one(step + 5)
    assert one(step).rows == other(step).rows and torch.equal(one(step).ids_BT, other(step).ids_BT)


@pytest.mark.parametrize("lengths", [[1], [1, 1, 1]])
def test_nothing_to_learn_from_is_refused(lengths: list[int]) -> None:
    with pytest.raises(HanlinError, match="no text to learn from"):
        Windows(documents_of(lengths), 16, 4, 0, 0)


def test_a_corpus_in_an_order_is_read_in_it():
    windows = Windows(documents_of([40, 7, 90]), 16, 3, 0, 0, order="as_written")
    read = [row for step in range(8) for row in windows.rows(step)]
    assert read == [place % len(windows) for place in range(24)]
