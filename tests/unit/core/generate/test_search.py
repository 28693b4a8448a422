"""A search as a user asks for it."""

from __future__ import annotations

from typing import Any

import pytest
from tiny_families import tiny_model

from hanlin.core.generate.beam import beam_search
from hanlin.core.generate.contrastive import contrastive_search
from hanlin.core.generate.search import Search, search_text
from hanlin.core.run.config import build
from hanlin.core.run.errors import HanlinError
from hanlin.core.text.tokenizer import Tokenizer

PROMPT = [40, 7, 300, 12]


def test_beams_as_text(tiny_tokenizer: Tokenizer) -> None:
    loaded = tiny_model("qwen3", tiny_tokenizer)
    search = build(
        Search,
        {
            "beams": 4,
            "beam_groups": 2,
            "diversity_penalty": 0.5,
            "num_returned": 3,
            "max_tokens": 9,
            "length_penalty": 2,
        },
        "generate",
    )
    texts = search_text(loaded, PROMPT, search)
    beams = beam_search(loaded, PROMPT, 4, 2.0, 9, 2, 0.5, 3)
    assert search.is_on and len(texts) == 3
    for text, beam in zip(texts, beams):
        assert text and tiny_tokenizer.decode(beam.ids).startswith(text)


def test_contrast_as_text(tiny_tokenizer: Tokenizer) -> None:
    loaded = tiny_model("qwen3", tiny_tokenizer)
    search = Search(contrastive_alpha=0.6, max_tokens=9)
    [text] = search_text(loaded, PROMPT, search)
    assert search.is_on
    assert tiny_tokenizer.decode(contrastive_search(loaded, PROMPT, 4, 0.6, 9)).startswith(text)


def test_off_unless_asked_for() -> None:
    assert not Search().is_on


@pytest.mark.parametrize("given, kept", [("never", "never"), (True, True), (False, False)])
def test_early_stopping_is_read_as_written(given: Any, kept: Any) -> None:
    assert build(Search, {"beams": 2, "early_stopping": given}, "generate").early_stopping is kept


@pytest.mark.parametrize(
    "options, reason",
    [
        ({"beams": 4, "beam_groups": 3}, "4 beams can't be divided among 3 groups"),
        ({"beams": 4, "diversity_penalty": 1.0}, "one group has no other to differ from"),
        ({"beams": 2, "num_returned": 3}, "at most as many replies as beams, 2"),
        ({"beams": 2, "contrastive_alpha": 0.5}, "either beams or contrast"),
        ({"early_stopping": "always"}, "early_stopping"),
        ({"beam": 4}, 'did you mean "beams"'),
    ],
)
def test_impossible_options_are_refused(options: dict[str, Any], reason: str) -> None:
    with pytest.raises(HanlinError, match=reason):
        build(Search, options, "generate")
