"""What every row passes before the steps: it must be storable, and there must be something in it."""

from __future__ import annotations

import re
import unicodedata
from operator import attrgetter
from typing import Any

from hanlin.core.text.documents import Row
from hanlin.make.collect.steps.exact import digest

_LINE_END = re.compile("\r\n|[\r\x0b\x0c\x85]")
# Control characters, the byte order mark, half surrogate pairs (JSON can smuggle them in) and the two non-characters.
_INVISIBLE = re.compile("[\x00-\x08\x0e-\x1f\x7f-\x84\x86-\x9f\ufeff\ud800-\udfff\ufffe\uffff]")

_LABELS = ("id", "source", "type", "group", "reason", "language")
_labels_of = attrgetter(*_LABELS)
_CONVERSATIONS = ("messages", "chosen", "rejected")
_JSON = ("tools", "notes")


def take_in(row: Row, min_chars: int) -> Row:
    """The row as it can be kept, with a group, and with a reason where there is nothing to keep. What its text loses is
    counted in its notes."""
    lost = num_invisible(row.content)
    row = clean_row(row)
    if lost:
        row = row.changed(notes={**row.notes, "intake": {"invisible characters": lost}})
    return row.changed(reason=row.reason or unusable(row, min_chars), group=row.group or digest(row).hex())


def clean_text(text: str) -> str:
    """NFC, one kind of line end, no control characters, no blank edges. Width, script and wording stay as they were."""
    if not text.replace("\n", "").isprintable():
        text = _INVISIBLE.sub("", _LINE_END.sub("\n", text))
    return unicodedata.normalize("NFC", text).strip()


def num_invisible(text: str) -> int:
    """Control characters, halves of characters and the like, which cleaning takes out."""
    return 0 if text.replace("\n", "").isprintable() else len(_INVISIBLE.findall(text))


def clean_row(row: Row) -> Row:
    changes: dict[str, Any] = {}
    if not "".join(labels := _labels_of(row)).isprintable():
        changes |= {name: _INVISIBLE.sub("", label) for name, label in zip(_LABELS, labels)}
    if row.kind != "text":
        changes |= {name: tuple(map(_clean, getattr(row, name))) for name in _CONVERSATIONS}
    if row.tools or row.notes:
        changes |= {name: _visible(getattr(row, name)) for name in _JSON}
    if (text := clean_text(row.text)) != row.text:
        changes["text"] = text
    return row.changed(**changes) if changes else row


def unusable(row: Row, min_chars: int) -> str:
    """Why there is nothing to keep; "" if there is."""
    if row.kind == "text":
        if not row.text:
            return "empty"
        return f"too short: {len(row.text)} characters" if len(row.text) < min_chars else ""
    if any(not (m["content"] or m.get("tool_calls") or m["role"] == "tool") for m in row.all_messages):
        return "empty message"
    if row.kind == "preference":
        return "" if row.messages else "no prompt"
    return "" if any(message["role"] == "assistant" for message in row.messages) else "no reply"


def _clean(message: dict[str, Any]) -> dict[str, Any]:
    return {**_visible(message), "content": clean_text(message["content"])}


def _visible(value: Any) -> Any:
    """The same value without invisible characters in its texts."""
    if isinstance(value, dict):
        return {_visible(name): _visible(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(map(_visible, value))
    return _INVISIBLE.sub("", value) if isinstance(value, str) else value
