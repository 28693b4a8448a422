"""Whose calls a model writes, told by its chat template."""

from __future__ import annotations

from hanlin.core.text.calls import gemma, hermes, llama3, mistral
from hanlin.core.text.calls.reader import Family, Reader
from hanlin.core.text.calls.thoughts import pairs_of
from hanlin.core.text.chat_format import format_of
from hanlin.core.text.tokenizer import Tokenizer

FAMILIES: tuple[Family, ...] = (hermes, mistral, llama3, gemma)
"""In the order in which they are asked."""


def family_of(tokenizer: Tokenizer) -> Family:
    """The family whose markup the template or the tokenizer's special tokens spell; Hermes's for any other."""
    spelled = spelled_by(tokenizer)
    return next((family for family in FAMILIES if family.is_of(spelled)), hermes)


def spelled_by(tokenizer: Tokenizer) -> str:
    """The template and the names of all special tokens."""
    return "\n".join([format_of(tokenizer).template, *_special_names(tokenizer).values()])


def reader_of(tokenizer: Tokenizer, *, tools: bool, thought_open: bool) -> Reader:
    """A reader for one reply.

    tools: whether calls are to be read; else only the thought is parted from the text. thought_open: the prompt has
    already begun the thought.
    """
    family, pairs = family_of(tokenizer) if tools else None, pairs_of(format_of(tokenizer).template)
    marks = {mark for pair in pairs for mark in pair} | set(family.SPECIAL if family else ())
    names = {token: name for token, name in _special_names(tokenizer).items() if name in marks}
    return Reader(family, pairs, thought_open, names)


def _special_names(tokenizer: Tokenizer) -> dict[int, str]:
    return {token: tokenizer.backend.id_to_token(token) or "" for token in tokenizer.special_ids}
