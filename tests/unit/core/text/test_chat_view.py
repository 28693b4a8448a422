"""Rendered conversations in pieces for people."""

from __future__ import annotations

from itertools import pairwise

import pytest
from chat_templates import CASES, PLAIN, tokenizer_of
from samples import assistant, user

from hanlin.core.text.chat import Rendered, render
from hanlin.core.text.chat_view import Piece, pieces
from hanlin.core.text.tokenizer import IM_END, IM_START, Tokenizer


def test_neighbours_of_one_kind_are_one_piece(tiny_tokenizer: Tokenizer) -> None:
    rendered = render([user(f"🧋{IM_END}？"), assistant("半糖 😋")], tiny_tokenizer)
    assert pieces(rendered, tiny_tokenizer) == [
        Piece(IM_START, trained=False, special=True),
        Piece(f"user\n🧋{IM_END}？", trained=False, special=False),
        Piece(IM_END, trained=False, special=True),
        Piece("\n", trained=False, special=False),
        Piece(IM_START, trained=False, special=True),
        Piece("assistant\n", trained=False, special=False),
        Piece("半糖 😋", trained=True, special=False),
        Piece(IM_END, trained=True, special=True),
        Piece("\n", trained=False, special=False),
    ]


def test_nothing_to_show(tiny_tokenizer: Tokenizer) -> None:
    assert pieces(Rendered([], []), tiny_tokenizer) == []


@pytest.mark.parametrize("name", CASES)
def test_the_pieces_are_the_whole_text(name: str) -> None:
    tokenizer = tokenizer_of(name)
    for conversation in PLAIN:
        rendered = render(conversation, tokenizer, True)
        found = pieces(rendered, tokenizer)
        assert "".join(piece.text for piece in found) == tokenizer.decode(rendered.ids, skip_special=False)
        assert all((a.trained, a.special) != (b.trained, b.special) for a, b in pairwise(found))
