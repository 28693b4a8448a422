"""Every decoder here is transformers' own: logits, hidden states, loss, gradients, files; and itself, cached or padded.

Configs are drawn anew (see cases/): what passes has passed on shapes its author never saw.
"""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from reference import DECODERS, gradients_of, hold_choices, ours_of, random_ids, random_reference
from transformers import AutoModelForCausalLM

from hanlin.core.model.equality import compare_decoders, difference, worst
from hanlin.core.model.pretrained import known_families, load_model, save_model

TOLERANCE = 1e-5
BF16_BOUND = 0.03
"""Root mean square error of bfloat16 logits, as a share of the logits' own size."""

families = pytest.mark.parametrize("case", DECODERS.values(), ids=list(DECODERS))
seeds = st.integers(0, 10_000)


def tolerance(case: ModuleType) -> float:
    return getattr(case, "TOLERANCE", TOLERANCE)


@families
@settings(max_examples=8)
@given(data=st.data(), batch=st.integers(1, 3), length=st.integers(5, 40), seed=seeds)
def test_logits_states_loss_and_gradients(
    case: ModuleType, data: st.DataObject, batch: int, length: int, seed: int
) -> None:
    """From 3 tokens on: with 2 the one that is judged sees itself alone, and its query's gradient is only rounding."""
    theirs = random_reference(case, data.draw(case.configs()), seed)
    ours, family = ours_of(theirs)
    ids = random_ids(ours.vocab_size, batch, length, seed)
    furthest = worst(compare_decoders(ours, theirs, ids, lambda model: gradients_of(model, ours, family)))
    assert furthest.difference <= tolerance(case), furthest


@families
@settings(max_examples=5)
@given(data=st.data(), cuts=st.lists(st.integers(1, 9), min_size=1, max_size=6), seed=seeds)
@torch.inference_mode()
def test_cached_equals_full(case: ModuleType, data: st.DataObject, cuts: list[int], seed: int) -> None:
    """Any split into pieces and single tokens gives the logits of one pass; the cache may have room to spare."""
    ours, _ = ours_of(random_reference(case, without_growing_rope(data.draw(case.configs())), seed))
    ids = random_ids(ours.vocab_size, 2, sum(cuts), seed)
    cache = ours.new_cache(2, sum(cuts) + 3)
    pieces = torch.cat([ours(piece, cache) for piece in ids.split(cuts, dim=1)], dim=1)
    assert difference(pieces, ours(ids)) <= tolerance(case)
    assert cache.length == sum(cuts)


@families
@settings(max_examples=5)
@given(data=st.data(), lengths=st.lists(st.integers(2, 20), min_size=2, max_size=4), seed=seeds)
@torch.inference_mode()
def test_left_padded_batch_equals_single(case: ModuleType, data: st.DataObject, lengths: list[int], seed: int) -> None:
    """In one pass and in two with a cache, whatever stands in the padding."""
    ours, _ = ours_of(random_reference(case, without_growing_rope(data.draw(case.configs())), seed))
    ids, present = random_ids(ours.vocab_size, len(lengths), max(lengths), seed), None
    present = torch.arange(max(lengths)) >= max(lengths) - torch.tensor(lengths)[:, None]
    whole = ours(ids, None, present)
    cache = ours.new_cache(len(lengths), max(lengths))
    pieces = torch.cat([ours(ids[:, :-1], cache, present[:, :-1]), ours(ids[:, -1:], cache, present[:, -1:])], dim=1)
    for row, length in enumerate(lengths):
        alone = ours(ids[row : row + 1, -length:])[0]
        assert difference(whole[row, -length:], alone) <= tolerance(case)
        assert difference(pieces[row, -length:], alone) <= tolerance(case)


def without_growing_rope(values: dict[str, Any]) -> dict[str, Any]:
    """These two turn all keys anew as the text grows: cached keys keep the angles of their time, here and elsewhere."""
    rope = values.get("rope_parameters") or {}
    if rope.get("rope_type") in ("dynamic", "longrope"):
        return {**values, "rope_parameters": None}
    return values


@families
@settings(max_examples=3)
@given(data=st.data(), seed=seeds)
@torch.inference_mode()
def test_bfloat16_is_close(case: ModuleType, data: st.DataObject, seed: int) -> None:
    theirs = random_reference(case, data.draw(case.configs()), seed)
    ours, _ = ours_of(theirs)
    ids = random_ids(ours.vocab_size, 2, 24, seed)
    exact = theirs(ids).logits
    hold_choices(ours, ids)
    error = (ours.to(torch.bfloat16)(ids).float() - exact).square().mean().sqrt() / exact.square().mean().sqrt()
    assert error <= BF16_BOUND


@families
@settings(max_examples=3, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), seed=seeds)
@torch.inference_mode()
def test_what_is_saved_opens_in_transformers(tmp_path: Path, case: ModuleType, data: st.DataObject, seed: int) -> None:
    theirs = random_reference(case, data.draw(case.configs()), seed)
    ours, family = ours_of(theirs)
    save_model(tmp_path, ours, family)
    reopened = AutoModelForCausalLM.from_pretrained(tmp_path, trust_remote_code=False)
    assert type(reopened) is type(theirs)
    ids = random_ids(ours.vocab_size, 1, 30, seed)
    assert difference(ours(ids), reopened(ids).logits) <= tolerance(case)
    assert torch.equal(load_model(tmp_path)[0](ids), ours(ids))


def test_every_decoder_has_a_case() -> None:
    """But for those transformers has not (`REFERENCE = None`), which have tests of their own."""
    decoders = [family for family in known_families() if getattr(family, "KIND", "decoder") == "decoder"]
    compared = [family for family in decoders if getattr(family, "REFERENCE", "transformers") is not None]
    files = {family.__name__.rpartition(".")[2] for family in compared}
    assert set(DECODERS) == files
