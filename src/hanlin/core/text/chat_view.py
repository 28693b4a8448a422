"""Rendered conversations for people to read: what the model sees, and which of it is trained."""

from __future__ import annotations

from dataclasses import dataclass

from hanlin.core.text.chat import Rendered
from hanlin.core.text.tokenizer import StreamDecoder, Tokenizer


@dataclass(frozen=True)
class Piece:
    """A run of tokens of one kind. special: they are special tokens, so `text` is their name and not what was said."""

    text: str
    trained: bool
    special: bool


def pieces(rendered: Rendered, tokenizer: Tokenizer) -> list[Piece]:
    """The conversation in pieces, neighbours of one kind together; their texts joined are the whole text."""
    decoder = StreamDecoder(tokenizer, skip_special=False)
    found: list[Piece] = []
    for token, trained in zip(rendered.ids, rendered.trained, strict=True):
        kind = trained, token in tokenizer.special_ids
        if not found or (found[-1].trained, found[-1].special) != kind:
            found.append(Piece("", *kind))
        found[-1] = Piece(found[-1].text + decoder.push(token), *kind)
    found.append(Piece(decoder.finish(), False, False))
    return [piece for piece in found if piece.text]
