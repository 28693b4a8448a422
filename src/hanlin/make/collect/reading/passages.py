"""Cut a long text into passages where a reader would pause: at blank lines, else line ends, else sentence ends."""

from __future__ import annotations

import re

# Each pattern matches the empty place after a separator, so that no character is lost.
_PAUSES = (re.compile(r"(?<=\n\n)"), re.compile(r"(?<=\n)"), re.compile(r"(?<=[。！？；!?])|(?<=\. )"))


def cut(text: str, passage_chars: int) -> list[str]:
    """Passages of at most about `passage_chars` characters; joined they are `text` again, character for character.

    A last passage shorter than a quarter joins the one before it.
    """
    passages: list[str] = []
    for piece in _pieces(text, passage_chars):
        if passages and len(passages[-1]) + len(piece) <= passage_chars:
            passages[-1] += piece
        else:
            passages.append(piece)
    if len(passages) > 1 and len(passages[-1]) < passage_chars // 4:
        last = passages.pop()
        passages[-1] += last
    return passages


def _pieces(text: str, passage_chars: int, depth: int = 0) -> list[str]:
    """Parts of at most `passage_chars`, cut at the strongest pauses that make them so; without any, at the length."""
    if len(text) <= passage_chars:
        return [text] if text else []
    if depth == len(_PAUSES):
        return [text[start : start + passage_chars] for start in range(0, len(text), passage_chars)]
    return [piece for part in _PAUSES[depth].split(text) for piece in _pieces(part, passage_chars, depth + 1)]
