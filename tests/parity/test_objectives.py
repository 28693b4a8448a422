"""The objectives are transformers' own: masked language modelling with its collator and BERT, span corruption with T5.
Losses at 1e-6, gradients at 1e-5."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from reference import gradients_of, ours_of, random_ids, randomise
from transformers import (
    AutoConfig,
    AutoModelForMaskedLM,
    AutoModelForSeq2SeqLM,
    DataCollatorForLanguageModeling,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)

from hanlin.core.model.equality import gradient_differences
from hanlin.core.model.families import bert, t5
from hanlin.core.text.tokenizer import Tokenizer
from hanlin.core.train.batch import IGNORED, Batch
from hanlin.core.train.objectives.masked import Masked, Masking, mask_tokens
from hanlin.core.train.objectives.span_corruption import SpanCorruption, Spans, corrupt, pair_up
from hanlin.make.pretrain.special_tokens import mask_id, with_mask

TOLERANCE = 1e-6
GRADIENT_TOLERANCE = 1e-5
VOCAB, PAD, STOP, MASK = 97, 0, 1, 2

seeds = st.integers(0, 10_000)
row_lengths = st.lists(st.integers(4, 30), min_size=1, max_size=4)


def reference(auto: Any, config: dict[str, Any], seed: int) -> PreTrainedModel:
    """transformers' model of a config that `hanlin pretrain` writes."""
    theirs = AutoConfig.for_model(**config)
    return randomise(auto.from_config(theirs, attn_implementation="eager"), seed)


def hidden_batch(lengths: list[int], seed: int) -> Batch:
    present = torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]
    ids = (random_ids(VOCAB - 3, len(lengths), max(lengths), seed) + 3).masked_fill(~present, PAD)
    return mask_tokens(ids, present, Masking(MASK, torch.arange(VOCAB) > MASK), np.random.default_rng(seed))


@settings(max_examples=8)
@given(row_lengths, seeds)
def test_masked_loss_and_gradients_are_berts(lengths: list[int], seed: int) -> None:
    config = bert.new_config(
        vocab_size=VOCAB, width=24, num_layers=2, num_heads=2, hidden=40, max_positions=30, pad_id=PAD
    )
    theirs = reference(AutoModelForMaskedLM, config, seed)
    ours, family = ours_of(theirs)
    batch = hidden_batch(lengths, seed)
    loss = Masked()(ours, batch) / batch.num_trained
    loss.backward()
    found = theirs(batch.ids_BT, attention_mask=batch.extras["present"].long(), labels=batch.targets_BT)
    found.loss.backward()
    assert abs(float((loss - found.loss).detach())) <= TOLERANCE * float(found.loss.detach())
    shares = gradient_differences(ours, gradients_of(theirs, ours, family))
    assert max(shares.values()) <= GRADIENT_TOLERANCE, shares


def test_masks_are_the_collators_in_number_and_kind(tiny_tokenizer: Tokenizer) -> None:
    """Shares of what is chosen, replaced and kept; never a special token. Theirs is drawn token by token, ours is exact
    in each row: equal within four of theirs' standard deviations."""
    ours = with_mask(tiny_tokenizer)
    theirs = PreTrainedTokenizerFast(
        tokenizer_object=ours.backend, mask_token=ours.settings["mask_token"], pad_token=ours.settings["pad_token"]
    )
    ids = random_ids(ours.vocab_size, 300, 200, 0)
    ordinary = torch.ones(ours.vocab_size, dtype=torch.bool)
    ordinary[[*ours.special_ids]] = False
    batch = mask_tokens(
        ids, torch.ones_like(ids, dtype=torch.bool), Masking(mask_id(ours), ordinary), np.random.default_rng(0)
    )
    collate = DataCollatorForLanguageModeling(theirs, mlm_probability=0.15, seed=0)
    special = torch.isin(ids, torch.tensor([*ours.special_ids]))
    seen, labels = collate.torch_mask_tokens(ids.clone(), special_tokens_mask=special)
    rates = [shares_of(*pair, ids, mask_id(ours)) for pair in ((batch.ids_BT, batch.targets_BT), (seen, labels))]
    chosen = int((labels != IGNORED).sum())
    for name, rate in rates[0].items():
        count = int((~special).sum()) if name == "chosen" else chosen
        deviation = (rate * (1 - rate) / count) ** 0.5
        assert rates[1][name] == pytest.approx(rate, abs=4 * deviation + 2e-3), name
    assert not (batch.targets_BT[special] != IGNORED).any() and not (labels[special] != IGNORED).any()


def shares_of(seen: torch.Tensor, labels: torch.Tensor, ids: torch.Tensor, mask: int) -> dict[str, float]:
    chosen = labels != IGNORED
    seen, wanted = seen[chosen], labels[chosen]
    assert torch.equal(wanted, ids[chosen])
    return {
        "chosen": float(chosen.sum()) / float((ids != mask).sum()),
        "masked": float((seen == mask).float().mean()),
        "kept": float((seen == wanted).float().mean()),
    }


@settings(max_examples=8)
@given(row_lengths, seeds)
def test_span_corruption_is_t5s(lengths: list[int], seed: int) -> None:
    """Its shift of the labels, its loss, its gradients; sources padded or not."""
    config = t5.new_config(
        vocab_size=VOCAB,
        width=24,
        num_layers=2,
        num_heads=2,
        head_width=10,
        hidden=40,
        max_positions=40,
        pad_id=PAD,
        stop_id=STOP,
        start_id=PAD,
    )
    theirs = reference(AutoModelForSeq2SeqLM, {**config, "initializer_factor": 0.5}, seed)
    ours, family = ours_of(theirs)
    spans, random = Spans(tuple(range(VOCAB - 1, VOCAB - 20, -1)), STOP), np.random.default_rng(seed)
    texts = [(random_ids(VOCAB - 22, 1, length, seed + length)[0] + 2).tolist() for length in lengths]
    batch = pair_up([corrupt(text, spans, random) for text in texts], PAD, PAD)
    loss = SpanCorruption()(ours, batch) / batch.num_trained
    loss.backward()
    source, present = batch.extras["source_ids"], batch.extras["source_present"]
    assert torch.equal(theirs._shift_right(batch.targets_BT), batch.ids_BT)
    found = theirs(source, attention_mask=present.long(), labels=batch.targets_BT)
    found.loss.backward()
    assert abs(float((loss - found.loss).detach())) <= TOLERANCE * float(found.loss.detach())
    shares = gradient_differences(ours, gradients_of(theirs, ours, family))
    assert max(shares.values()) <= GRADIENT_TOLERANCE, shares
