"""The texts of a row, whatever its kind, and the row with other texts in their places."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import islice
from typing import Any

from hanlin.core.text.documents import Row


def texts_of(row: Row) -> list[str]:
    """The document's text, or every message's content, those of the compared replies too."""
    return [message["content"] for message in row.all_messages] if row.kind != "text" else [row.text]


def with_texts(row: Row, texts: Sequence[str]) -> Row:
    """The row with these in place of `texts_of(row)`. Roles, tool calls and all else stay."""
    if row.kind == "text":
        return replace(row, text=texts[0])
    contents = iter(texts)
    changed: dict[str, Any] = {}
    for name in ("messages", "chosen", "rejected"):
        messages = getattr(row, name)
        new = islice(contents, len(messages))
        changed[name] = tuple({**message, "content": text} for message, text in zip(messages, new))
    return replace(row, **changed)


def says_nothing(text: str) -> bool:
    """Whether no letter and no digit is left of it."""
    return not any(map(str.isalnum, text))


def without(text: str, spans: Sequence[tuple[int, int]]) -> str:
    """The text without these spans of characters, which are in order and don't overlap."""
    kept, place = [], 0
    for begin, end in spans:
        kept.append(text[place:begin])
        place = end
    return "".join([*kept, text[place:]])
