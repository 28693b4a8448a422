"""Beam search finds transformers' texts with transformers' scores."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import test_t5
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from reference import DECODERS, ours_of, random_reference
from test_decoders import without_growing_rope
from transformers import PreTrainedModel

from hanlin.core.generate.beam import beam_search
from hanlin.core.model.pretrained import Pretrained
from hanlin.core.text.tokenizer import Tokenizer

CASES = {name: DECODERS[name] for name in ("gpt2", "llama", "gemma3", "qwen3")}


def ours_with_stops(theirs: PreTrainedModel, data: st.DataObject, seed: int, tokenizer: Tokenizer) -> Pretrained:
    """The same model, from now on with logits far enough apart that some texts end early."""
    with torch.no_grad():
        theirs.get_output_embeddings().weight.mul_(4)
    model, family = ours_of(theirs)
    num_stops = data.draw(st.integers(1, model.vocab_size // 3))
    stops = torch.randperm(model.vocab_size, generator=torch.Generator().manual_seed(seed))[:num_stops].tolist()
    plain = Tokenizer(tokenizer.backend, {**tokenizer.settings, "chat_template": None})
    return Pretrained(model, plain, family, Path("random"), {"eos_token_id": stops})


searches = {
    "seed": st.integers(0, 10_000),
    "num_beams": st.integers(2, 6),
    "length_penalty": st.sampled_from([-1.0, 0.0, 0.7, 1.0, 2.0]),
    "early_stopping": st.sampled_from([True, False, "never"]),
    "max_tokens": st.integers(1, 14),
}


def check(
    theirs: PreTrainedModel,
    ours: Pretrained,
    seed: int,
    num_beams: int,
    length_penalty: float,
    early_stopping: Any,
    max_tokens: int,
    num_begun: int,
    **given: Any,
) -> None:
    """num_begun: ids that their texts begin with."""
    prompt = torch.randint(ours.model.vocab_size, (1, 5), generator=torch.Generator().manual_seed(seed))
    expected = theirs.generate(
        prompt,
        attention_mask=torch.ones_like(prompt),
        num_beams=num_beams,
        num_return_sequences=num_beams,
        length_penalty=length_penalty,
        early_stopping=early_stopping,
        max_new_tokens=max_tokens,
        eos_token_id=sorted(ours.stop_ids),
        pad_token_id=min(ours.stop_ids),
        do_sample=False,
        return_dict_in_generate=True,
        output_scores=True,
        **given,
    )
    found = beam_search(
        ours,
        prompt[0].tolist(),
        num_beams,
        length_penalty,
        max_tokens,
        num_returned=num_beams,
        early_stopping=early_stopping,
    )
    scores = torch.tensor([beam.score for beam in found])
    torch.testing.assert_close(scores, expected.sequences_scores, atol=1e-4, rtol=1e-4)
    for beam, ids in zip(found, expected.sequences[:, num_begun:].tolist()):
        assert list(beam.ids) == ids[: len(beam.ids)] and set(ids[len(beam.ids) :]) <= ours.stop_ids


@pytest.mark.parametrize("case", CASES.values(), ids=list(CASES))
@settings(max_examples=12)
@given(data=st.data(), asked=st.fixed_dictionaries(searches))
def test_ids_and_scores(
    case: ModuleType, data: st.DataObject, asked: dict[str, Any], tiny_tokenizer: Tokenizer
) -> None:
    values = without_growing_rope(data.draw(case.configs()))
    theirs = random_reference(case, values, asked["seed"])
    check(theirs, ours_with_stops(theirs, data, asked["seed"], tiny_tokenizer), **asked, num_begun=5)


@settings(max_examples=12)
@given(st.data(), test_t5.configs(), test_t5.heads, st.fixed_dictionaries(searches))
def test_encoder_decoders(
    tiny_tokenizer: Tokenizer, data: st.DataObject, values: dict[str, Any], own_head: bool, asked: dict[str, Any]
) -> None:
    """Theirs without a cache: its size is the encoder's depth."""
    theirs = test_t5.reference(values, own_head, asked["seed"])
    ours = ours_with_stops(theirs, data, asked["seed"], tiny_tokenizer)
    check(theirs, ours, **asked, num_begun=1, use_cache=False)
