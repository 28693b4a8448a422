"""The tokens inside a character, found again by their bytes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hanlin.core.text.tokenizer import Tokenizer
from hanlin.use.serve.backends.unseen import Spelling


@pytest.fixture(scope="module")
def spelling(tiny_tokenizer: Tokenizer) -> Spelling:
    return Spelling(tiny_tokenizer)


@given(st.characters(min_codepoint=0x80, codec="utf-8"))
def test_the_cut_of_the_tokenizer_comes_back(spelling: Spelling, tiny_tokenizer: Tokenizer, character: str) -> None:
    ids = tiny_tokenizer.encode(character, at_start=False)
    found = spelling.ids_of(character, ids[-1], len(ids))
    assert len(found) == len(ids) and found[-1] == ids[-1]
    assert tiny_tokenizer.decode(found) == tiny_tokenizer.decode(ids)


def test_what_can_not_be_spelled_keeps_its_text(spelling: Spelling, tiny_tokenizer: Tokenizer) -> None:
    a = tiny_tokenizer.id_of("a")
    assert tiny_tokenizer.decode(spelling.ids_of("\ufffda", a, 2)) == "\ufffda"
