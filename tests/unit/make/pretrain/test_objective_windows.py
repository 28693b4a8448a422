"""Windows of which a part is hidden: every token is read, a step is a pure function, held-out texts are hidden once and
for all."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hanlin.core.model.pretrained import Pretrained
from hanlin.core.run.errors import HanlinError
from hanlin.core.text.shards import Documents
from hanlin.core.text.tokenizer import Tokenizer
from hanlin.core.train.batch import IGNORED, Batch
from hanlin.core.train.initialise import initialise
from hanlin.make.pretrain import masked, span_corruption
from hanlin.make.pretrain.config import Pretrain

OBJECTIVES = {"masked": masked, "span_corruption": span_corruption}
objectives = pytest.mark.parametrize("objective", list(OBJECTIVES))
LENGTHS = st.lists(st.integers(3, 90), min_size=1, max_size=8)


def options(objective: str, context: int = 24, seed: int = 0, **more: float) -> Pretrain:
    train = {"steps": 1, "batch_rows": 3, "seed": seed}
    return Pretrain.model_validate(
        {"objective": objective, "model": {"depth": 1, "context": context}, "train": train, **more}
    )


def loaded_for(objective: str, tokenizer: Tokenizer, config: Pretrain) -> Pretrained:
    method = OBJECTIVES[objective]
    tokenizer = method.prepared(tokenizer, config)
    model = method.FAMILY.build(method.new_config(config, tokenizer))
    initialise(model, 0)
    return Pretrained(model, tokenizer, method.FAMILY, None, {})


def documents_of(lengths: list[int], tokenizer: Tokenizer) -> Documents:
    """A document token, then ordinary tokens, no two alike in a document."""
    ordinary = [i for i in range(tokenizer.vocab_size) if i not in tokenizer.special_ids]
    ids = [[tokenizer.document_id, *ordinary[number : number + length - 1]] for number, length in enumerate(lengths)]
    starts = np.cumsum([0, *lengths[:-1]])
    names = tuple(f"doc-{number}" for number in range(len(lengths)))
    return Documents((np.concatenate(ids).astype(np.uint16),), (starts,), names, tuple(lengths))


@objectives
@settings(max_examples=15)
@given(lengths=LENGTHS, context=st.integers(16, 40), seed=st.integers(0, 9))
def test_every_token_is_read(
    tiny_tokenizer: Tokenizer, objective: str, lengths: list[int], context: int, seed: int
) -> None:
    """In one epoch each window is read as it stands in the text, but for what is hidden; none exceeds the context."""
    config = options(objective, context, seed)
    loaded = loaded_for(objective, tiny_tokenizer, config)
    documents = documents_of(lengths, tiny_tokenizer)
    batches = OBJECTIVES[objective].batches(documents, config, loaded)
    texts = dict(zip(documents.names, documents))
    read: dict[str, set[int]] = {name: set() for name in texts}
    for step in range(-(-len(batches) // 3)):
        batch = batches(step)
        for place, row in enumerate(batch.rows):
            window = restored(batch, place, loaded.tokenizer)
            whole = texts[batches.describe(row)].tolist()
            at = whole.index(window[0])
            assert window == whole[at : at + len(window)]
            read[batches.describe(row)].update(window)
        sizes = [batch.ids_BT.shape[1], *(extra.shape[1] for extra in batch.extras.values())]
        assert max(sizes) <= context
    for name, ids in texts.items():
        wanted = set(ids.tolist()) - ({loaded.tokenizer.document_id} if objective == "span_corruption" else set())
        assert read[name] == wanted


def restored(batch: Batch, place: int, tokenizer: Tokenizer) -> list[int]:
    """The text behind a row."""
    targets = batch.targets_BT[place]
    if "present" in batch.extras:
        ids = torch.where(targets != IGNORED, targets, batch.ids_BT[place])
        return ids[batch.extras["present"][place]].tolist()
    target = targets[targets != IGNORED].tolist()
    taken: dict[int, list[int]] = {}
    for token in target[:-1]:
        if token >= 500:
            sentinel = token
        taken.setdefault(sentinel, []).append(token)
    source = batch.extras["source_ids"][place][batch.extras["source_present"][place]].tolist()
    return [token for seen in source[:-1] for token in ([seen] if seen < 500 else taken[seen][1:])]


@objectives
def test_a_step_is_a_pure_function_of_seed_and_step(tiny_tokenizer: Tokenizer, objective: str) -> None:
    config = options(objective)
    loaded, documents = loaded_for(objective, tiny_tokenizer, config), documents_of([50, 90, 7], tiny_tokenizer)
    one, other = (OBJECTIVES[objective].batches(documents, config, loaded) for _ in range(2))
    one(7)
    assert torch.equal(one(4).ids_BT, other(4).ids_BT) and torch.equal(one(4).targets_BT, other(4).targets_BT)
    epoch = len(one)  # three rows a step: three epochs on, the same rows may come again, hidden otherwise
    assert any(not torch.equal(one(s).targets_BT, one(s + epoch).targets_BT) for s in range(3))


@objectives
def test_the_longest_step_is_as_wide_as_any(tiny_tokenizer: Tokenizer, objective: str) -> None:
    config = options(objective)
    loaded, documents = loaded_for(objective, tiny_tokenizer, config), documents_of([5] * 40 + [60], tiny_tokenizer)
    batches = OBJECTIVES[objective].batches(documents, config, loaded)
    widths = [batches(step).ids_BT.shape[1] for step in range(-(-len(batches) // 3))]
    assert batches(batches.longest()).ids_BT.shape[1] == max(widths)


@objectives
def test_held_out_texts_are_hidden_once_and_for_all(tiny_tokenizer: Tokenizer, objective: str) -> None:
    """Whatever the seed of training; and all of the split, up to the tokens that are to be read."""
    method, documents = OBJECTIVES[objective], documents_of([90, 30, 12, 80], tiny_tokenizer)
    found = []
    for seed in (0, 5):
        config = options(objective, seed=seed)
        found.append(method.measured(loaded_for(objective, tiny_tokenizer, config), documents, config))
    assert found[0] == found[1] and 4 < found[0]["heldout_loss"] < 9
    loaded = loaded_for(objective, tiny_tokenizer, config)
    assert method.glance(loaded, documents, config) == found[0]["heldout_loss"]
    fewer = method.measured(loaded, documents, options(objective, heldout_tokens=50))
    assert fewer["heldout_tokens"] < found[0]["heldout_tokens"]


def test_texts_of_special_tokens_alone_are_refused(tiny_tokenizer: Tokenizer) -> None:
    config = options("masked")
    loaded = loaded_for("masked", tiny_tokenizer, config)
    nothing = Documents((np.zeros(20, np.uint16),), (np.array([0]),), ("empty",), (0,))
    with pytest.raises(HanlinError, match=r"Nothing to hide in step 1: its texts \(empty"):
        masked.batches(nothing, config, loaded)(0)


def test_more_spans_than_a_base_has_sentinels_are_refused(tiny_tokenizer: Tokenizer) -> None:
    small = options("span_corruption")
    loaded = loaded_for("span_corruption", tiny_tokenizer, small)
    wide = options("span_corruption", context=2048)
    with pytest.raises(HanlinError, match=r"A context of 2048 tokens has \d+ spans; the tokenizer has 100 sentinels"):
        span_corruption.batches(documents_of([30], tiny_tokenizer), wide, loaded)
