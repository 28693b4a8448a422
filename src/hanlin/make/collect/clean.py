"""Clean a row without changing what it says, and say why a row can't be kept."""

from __future__ import annotations

import hashlib
import json
import re
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

from hanlin.core.run.errors import HanlinError
from hanlin.core.text.documents import Row
from hanlin.core.text.script import script_of
from hanlin.make.collect.config import Collect

_LINE_END = re.compile("\r\n|[\r\x0b\x0c\x85]")
# Control characters, the byte order mark, half surrogate pairs (JSON can smuggle them in) and the two non-characters.
_INVISIBLE = re.compile("[\x00-\x08\x0e-\x1f\x7f-\x84\x86-\x9f\ufeff\ud800-\udfff\ufffe\uffff]")


def clean_text(text: str) -> str:
    """NFC, one kind of line end, no control characters, no blank edges. Width, script and wording stay as they were."""
    return unicodedata.normalize("NFC", _INVISIBLE.sub("", _LINE_END.sub("\n", text))).strip()


def clean_row(row: Row) -> Row:
    messages = tuple({**_visible(m), "content": clean_text(m["content"])} for m in row.messages)
    labels: dict[str, Any] = {
        name: _INVISIBLE.sub("", getattr(row, name)) for name in ("id", "source", "type", "group", "reason")
    }
    return replace(row, text=clean_text(row.text), messages=messages, tools=_visible(row.tools), **labels)


def _visible(value: Any) -> Any:
    """The same value without invisible characters in its texts."""
    if isinstance(value, dict):
        return {_visible(name): _visible(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(map(_visible, value))
    return _INVISIBLE.sub("", value) if isinstance(value, str) else value


def judge(rows: Iterable[Row], config: Collect) -> Iterator[Row]:
    """Every row again, cleaned and tagged with its script; those not to be kept bear the reason.

    With rows=auto the first kept row decides the kind. Raises HanlinError at a row of the other kind.
    """
    seen: dict[bytes, str] = {}
    wanted, first = config.rows, ""
    for row in map(clean_row, rows):
        reason = row.reason or _unusable(row, config.min_chars)
        if not reason and wanted == "auto":
            wanted, first = row.kind, row.id
        if not reason and row.kind != wanted:
            if config.rows == "auto":
                raise _mixed_kinds(row, first)
            reason = f"other kind: {row.kind}, rows={config.rows} was asked for"
        key = digest(row)
        if not reason and key in seen:
            reason = f"duplicate: {seen[key]}"
        if not reason:
            seen[key] = row.id
        yield replace(row, script=script_of(row.content), reason=reason, group=row.group or key.hex())


def digest(row: Row) -> bytes:
    """16 bytes of the sha256 of all that the row says; white space counts as one blank."""
    parts = [_said(message) for message in row.messages] or [row.text]
    return hashlib.sha256("\0".join(" ".join(part.split()) for part in parts).encode()).digest()[:16]


def _said(message: dict[str, Any]) -> str:
    more = {name: value for name, value in message.items() if name not in ("role", "content")}
    return f"{message['role']}\0{message['content']}" + (json.dumps(more, sort_keys=True) if more else "")


def _unusable(row: Row, min_chars: int) -> str:
    if row.messages:
        if any(not (m["content"] or m.get("tool_calls") or m["role"] == "tool") for m in row.messages):
            return "empty message"
        return "" if any(message["role"] == "assistant" for message in row.messages) else "no reply"
    if not row.text:
        return "empty"
    return f"too short: {len(row.text)} characters" if len(row.text) < min_chars else ""


def _mixed_kinds(row: Row, first: str) -> HanlinError:
    kinds = {"text": "a document", "chat": "a conversation"}
    other = "chat" if row.kind == "text" else "text"
    return HanlinError(
        f"{row.id} is {kinds[row.kind]}, {first} is {kinds[other]}.",
        "sources of one kind, or the kind to keep",
        "add rows=text or rows=chat; the other rows go to rejected.parquet",
        "src/hanlin/make/collect/README.md",
    )
