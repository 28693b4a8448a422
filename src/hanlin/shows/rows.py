"""Rows of a corpus on a terminal: documents as text, conversations as chat, preferences side by side. With a tokenizer,
what training counts is coloured: green, or in 【】 where there are no colours."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich.console import Console, RenderableType
from rich.padding import Padding
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from hanlin.core.text.chat import Rendered, render
from hanlin.core.text.chat_view import pieces
from hanlin.core.text.documents import Row
from hanlin.core.text.tokenizer import Tokenizer

TWO_COLUMNS = 64
"""Columns of a terminal from which replies stand side by side."""

NOTE_CHARS = 120
"""Of each of a row's notes: readers leave whole texts there."""

ORIGINAL = "original"
"""What a converted row said before, in its notes."""

TRAINED, SPECIAL, FAINT, DROPPED = "bold green", "cyan", "dim", "red"
ROLES = {"user": "bold cyan", "assistant": "bold green", "tool": "bold yellow"}
SIDES = {"chosen": ("chosen 較好", "bold green"), "rejected": ("rejected 較差", "bold red")}

# What a terminal would obey, and what turns the direction of all that follows.
_OBEYED = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


@dataclass(frozen=True)
class Look:
    """How rows are shown. width: of the terminal in columns. chars: most characters of each text, 0 for all."""

    width: int = 80
    colours: bool = False
    chars: int = 0
    tokenizer: Tokenizer | None = None


def lines_of(row: Row, place: str, look: Look) -> list[str]:
    """The row as lines, with escape codes where there are colours. place: its number, or ""."""
    buffer = io.StringIO()
    console = Console(
        file=buffer,
        width=look.width,
        force_terminal=look.colours,
        color_system="standard" if look.colours else None,
        highlight=False,
        markup=False,
        emoji=False,
        legacy_windows=False,
    )
    console.print(
        Rule(visible(" ".join(filter(None, (place, row.id)))), align="left", style="bold" if look.colours else "")
    )
    for part in [*_facts(row), *_body(row, look)]:
        # A pipe gets each paragraph as one line; columns need their width everywhere.
        console.print(part, soft_wrap=isinstance(part, Text) and not look.colours)
    lines = buffer.getvalue().split("\n")
    return lines if look.colours else [line.rstrip() for line in lines]


def visible(text: str) -> str:
    """The text without what a terminal would obey."""
    return _OBEYED.sub("�", text)


def painted(rendered: Rendered, tokenizer: Tokenizer, colours: bool) -> Text:
    """A conversation as the model reads it: trained pieces green (or in 【】), special tokens blue."""
    text = Text()
    for piece in pieces(rendered, tokenizer):
        shown = visible(piece.text)
        if not colours:
            text.append(f"【{shown}】" if piece.trained else shown)
        else:
            text.append(shown, style=TRAINED if piece.trained else SPECIAL if piece.special else "")
    return text


def told(rendered: Rendered) -> str:
    """12 tokens, 5 trained, 1 reply can't be trained"""
    lost = rendered.num_untrained_replies
    return f"{len(rendered.ids):,} tokens, {sum(rendered.trained):,} trained" + (
        f", {lost} {'reply' if lost == 1 else 'replies'} can't be trained" if lost else ""
    )


def _facts(row: Row) -> Iterable[Text]:
    year = str(row.year) if row.year else ""
    facts = (row.type, year, row.script, row.language, f"{row.characters:,} characters", row.source)
    yield Text(visible(" · ".join(filter(None, facts))), style=FAINT)
    if row.reason:
        yield Text(visible(f"dropped: {row.reason}"), style=DROPPED)
    if notes := [
        f"{name} {_note(value)}"
        for name, value in row.notes.items()
        if name != ORIGINAL and value not in ({}, [], "", None)
    ]:
        yield Text(visible(" · ".join(map(_shortened, notes))), style=FAINT)
    if before := row.notes.get(ORIGINAL):
        yield from _before(before if isinstance(before, str) else "\n".join(map(str, before)), row.content)
    if row.tools:
        names = [str((tool.get("function") or tool).get("name", "?")) for tool in row.tools]
        yield Text(visible(f"tools: {', '.join(names)}"), style=FAINT)


def _before(before: str, after: str) -> Iterable[Text]:
    """Where a converted row parts from what it said before."""
    from hanlin.make.collect.report.differences import around_first_difference

    both = around_first_difference(before, after, NOTE_CHARS)
    for mark, text, style in zip("-+", both, ("red", "green")):
        yield Text(f"{mark} {visible(' '.join(text.split()))}", style=style)


def _shortened(note: str) -> str:
    return f"{note[:NOTE_CHARS]}…" if len(note) > NOTE_CHARS else note


def _note(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_note(part)}" for name, part in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(map(_note, value))
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _body(row: Row, look: Look) -> Iterable[RenderableType]:
    if row.kind == "text":
        if row.text:
            yield _cut(Text(visible(row.text)), look)
        if look.tokenizer is not None:
            yield Text(f"{len(look.tokenizer.encode(row.text)):,} tokens", style=FAINT)
    elif row.kind == "preference":
        yield from _preference(row, look)
    else:
        yield from _conversation(row.messages, row, look)


def _conversation(messages: Sequence[dict[str, Any]], row: Row, look: Look) -> Iterable[RenderableType]:
    """What the model reads where a tokenizer is given, else what was said."""
    if look.tokenizer is None or not messages:
        yield from _said(messages, look)
        return
    rendered = render(messages, look.tokenizer, tools=row.tools or None)
    yield _cut(painted(rendered, look.tokenizer, look.colours), look)
    yield Text(told(rendered), style=FAINT if any(rendered.trained) else DROPPED)


def _said(messages: Sequence[dict[str, Any]], look: Look, marks: Text | None = None) -> Iterable[RenderableType]:
    """Messages below each other, each under its role. marks: the only one's content, where that is painted already."""
    for message in messages:
        yield Text(visible(message["role"]), style=ROLES.get(message["role"], "bold"))
        if thought := message.get("reasoning_content"):
            yield Padding(_cut(Text(visible(str(thought)), style="dim italic"), look), (0, 0, 0, 2))
        if message["content"]:
            yield Padding(_cut(marks or Text(visible(message["content"])), look), (0, 0, 0, 2))
        for call in message.get("tool_calls") or ():
            yield Padding(Text(f"→ {visible(_call(call))}", style="yellow"), (0, 0, 0, 2))


def _call(call: Any) -> str:
    function = call.get("function") or call if isinstance(call, dict) else {"name": call}
    arguments = function.get("arguments", "")
    shown = arguments if isinstance(arguments, str) else json.dumps(arguments, ensure_ascii=False)
    return f"{function.get('name', '?')}({shown})"


def _preference(row: Row, look: Look) -> Iterable[RenderableType]:
    """The prompt, and below it the replies side by side, or below each other where the terminal is narrow."""
    yield from _said(row.messages, look)
    sides = [name for name in SIDES if getattr(row, name)]
    columns = len(sides) == 2 and look.width >= TWO_COLUMNS
    inner = Look((look.width - 3) // 2 if columns else look.width, look.colours, look.chars, look.tokenizer)
    marks = _marks(row)
    blocks = []
    for name in sides:
        block = Table.grid()
        block.add_column(overflow="fold")
        block.add_row(Text(SIDES[name][0], style=SIDES[name][1]))
        for part in _reply(row, name, marks.get(name), inner):
            block.add_row(part)
        blocks.append(block)
    if not columns:
        yield from blocks
        return
    grid = Table.grid(padding=(0, 3, 0, 0))
    for _ in blocks:
        grid.add_column(width=inner.width, overflow="fold")
    grid.add_row(*blocks)
    yield grid


def _reply(row: Row, name: str, marks: Text | None, look: Look) -> Iterable[RenderableType]:
    reply = getattr(row, name)
    if look.tokenizer is None:
        yield from _said(reply, look, marks)
        return
    rendered = render((*row.messages, *reply), look.tokenizer, tools=row.tools or None)
    yield _cut(painted(rendered, look.tokenizer, look.colours), look)
    yield Text(told(rendered), style=FAINT if any(rendered.trained) else DROPPED)


def _marks(row: Row) -> dict[str, Text]:
    """Both replies with what differs marked, where each is one message."""
    if len(row.chosen) != 1 or len(row.rejected) != 1:
        return {}
    from hanlin.make.collect.report.differences import differences

    both = differences(visible(row.chosen[0]["content"]), visible(row.rejected[0]["content"]))
    styles = {"chosen": "green", "rejected": "red"}
    return {
        name: Text.assemble(*((text, f"{style} reverse" if differs else "") for text, differs in found))
        for (name, style), found in zip(styles.items(), both)
    }


def _cut(text: Text, look: Look) -> Text:
    """The beginning, and how much is left out."""
    if not look.chars or len(text) <= look.chars:
        return text
    left = len(text) - look.chars
    return Text.assemble(text[: look.chars], (f"… {left:,} more characters", FAINT))
