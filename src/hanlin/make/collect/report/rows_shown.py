"""Rows on the page: documents as text, conversations as chat, preferences side by side. All of it is escaped."""

from __future__ import annotations

from html import escape
from typing import Any

from hanlin.core.run.numbers import count
from hanlin.make.collect.report.differences import Pieces, differences
from hanlin.make.collect.report.words import LANGUAGES, ROLES, SCRIPTS

OPEN_CHARS, OPEN_LINES = 240, 6
"""Of a document, before the rest of its excerpt is folded away: twenty of them are a page to read, not a scroll."""


def card(row: dict[str, Any]) -> str:
    """One excerpt (see samples.py)."""
    reason = f'<p class="why">{escape(row["reason"])}</p>' if row.get("reason") else ""
    return f'<article class="row"><header>{_facts(row)}</header>{reason}{_body(row)}</article>'


def before_and_after(row: dict[str, Any]) -> str:
    """What a converted row said, beside what it says now, with what was changed marked."""
    before, after = (_marked(each) for each in differences(row["before"], row["after"]))
    return (
        f'<article class="row"><header>{_facts(row)}</header><div class="pair">'
        f'<div class="rejected"><h4>原文 <small lang="en">before</small></h4>{_text(row["before"], before)}</div>'
        f'<div class="chosen"><h4>轉換後 <small lang="en">after</small></h4>{_text(row["after"], after)}</div>'
        "</div></article>"
    )


def _facts(row: dict[str, Any]) -> str:
    facts = [
        row.get("type", ""),
        str(row["year"]) if row.get("year") else "",
        SCRIPTS.get(row.get("script", ""), ""),
        LANGUAGES.get(row["language"], row["language"]) if row.get("language") else "",
        count(row["characters"], "字") if "characters" in row else "",
    ]
    likeness = f'<span class="likeness">{escape(row["likeness"])}</span>' if row.get("likeness") else ""
    source = f'<span class="source">{escape(row["source"])}</span>' if row.get("source") else ""
    return f"<b>{escape(row['id'])}</b>{likeness}<span>{escape('・'.join(filter(None, facts)))}</span>{source}"


def _body(row: dict[str, Any]) -> str:
    if row.get("kind", "text") == "text":
        text = row.get("text", "")
        left = row.get("characters", len(text)) - len(text)
        return _folded(text, f'<p class="more">…還有 {count(left, "字")}</p>' if left > 0 else "") if text else ""
    shown = sum(len(row.get(name, ())) for name in ("messages", "chosen", "rejected"))
    left = row.get("num_messages", shown) - shown
    more = f'<p class="more">…還有 {left:,} 則訊息</p>' if left > 0 else ""
    body = _conversation(row.get("messages", ()))
    if row["kind"] == "preference":
        sides = (("chosen", "較好的回覆"), ("rejected", "較差的回覆"))
        marks = _marks(row)
        columns = "".join(
            f'<div class="{name}"><h4>{title} <small lang="en">{name}</small></h4>'
            f"{_conversation(row[name], marks.get(name, ''))}</div>"
            for name, title in sides
            if row.get(name)
        )
        body += f'<div class="pair">{columns}</div>'
    return body + more


def _marks(row: dict[str, Any]) -> dict[str, str]:
    """Both replies with what differs marked, where each is one message."""
    sides = [row.get(name, ()) for name in ("chosen", "rejected")]
    if [len(side) for side in sides] != [1, 1]:
        return {}
    found = differences(*(side[0]["content"] for side in sides))
    return dict(zip(("chosen", "rejected"), map(_marked, found)))


def _marked(pieces: Pieces) -> str:
    return "".join(f"<mark>{escape(text)}</mark>" if differs else escape(text) for text, differs in pieces)


def _conversation(messages: Any, marked: str = "") -> str:
    """marked: the only message's content as HTML."""
    said = []
    for message in messages:
        role = message["role"] if message["role"] in ROLES else "other"
        calls = "".join(f"<code>{escape(call)}</code>" for call in message.get("calls", ()))
        name = ROLES.get(message["role"], message["role"])
        said.append(f'<li class="{role}"><span>{escape(name)}</span>{_text(message["content"], marked)}{calls}</li>')
    return f'<ol class="chat">{"".join(said)}</ol>' if said else ""


def _text(text: str, marked: str = "") -> str:
    return f'<div class="text" dir="auto">{marked or escape(text)}</div>' if text else ""


def _folded(text: str, more: str) -> str:
    """A document's beginning; what else is shown of it opens at a click."""
    end = sum(map(len, text.splitlines(keepends=True)[:OPEN_LINES]))
    if end > OPEN_CHARS * 3 // 2:  # at a line's end where there is one, so that the text reads on as it was
        end = text.rfind("\n", OPEN_CHARS // 2, OPEN_CHARS) + 1 or OPEN_CHARS
    beginning, rest = text[:end].rstrip("\n"), text[end:].lstrip("\n")
    if not rest:
        return _text(text) + more
    summary = f"<summary>再看 {count(len(text) - end, '字')}</summary>"
    return f'{_text(beginning)}<details class="rest">{summary}{_text(rest)}{more}</details>'
