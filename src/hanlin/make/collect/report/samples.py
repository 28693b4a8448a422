"""Rows drawn by chance, the same ones whoever counts: those with the smallest hash of (seed, id)."""

from __future__ import annotations

from bisect import insort
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any, Generic, TypeVar

from hanlin.core.text.documents import Row
from hanlin.make.collect.report.differences import around_first_difference

EXCERPT_CHARS = 800
"""Of a document that is shown, and of a conversation's messages together; of each reply that is compared."""

CHANGED_CHARS = 300
"""Of a converted row, before and after."""

MOST_MESSAGES = 12

ORIGINAL = "original"
"""What a converted row said before, in its notes: the text, or a list of the messages' contents."""

Item = TypeVar("Item")


def draw_key(seed: int, row_id: str) -> int:
    """The row's place in the draw: uniform over ids, a pure function of both."""
    digest = blake2b(f"{seed}\0{row_id}".encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest)


@dataclass
class Draw(Generic[Item]):
    """The `size` items with the smallest keys of all that were offered, and how many those were."""

    size: int
    offered: int = 0
    items: list[tuple[int, int, Item]] = field(default_factory=list)
    """(key, when it came, item), in order."""

    def wants(self, key: int) -> bool:
        """Whether an item with this key would stay: ask before you make it."""
        return len(self.items) < self.size or key < self.items[-1][0]

    def offer(self, key: int, item: Item) -> None:
        self.offered += 1
        insort(self.items, (key, self.offered, item), key=lambda entry: entry[:2])
        del self.items[self.size :]

    def pass_by(self) -> None:
        """An item came that is not wanted."""
        self.offered += 1

    def add(self, other: Draw[Item]) -> None:
        """What the other was offered, after what this one was."""
        later = [(key, self.offered + when, item) for key, when, item in other.items]
        self.items = sorted([*self.items, *later], key=lambda entry: entry[:2])[: self.size]
        self.offered += other.offered

    def __iter__(self) -> Iterator[Item]:
        return (item for _, _, item in self.items)


def excerpt(row: Row) -> dict[str, Any]:
    """What a reader is shown of a row, as JSON: names as in Row, empty ones left out, long texts cut.

    characters: of the whole row. text: also of a conversation, its contents' beginning.
    """
    shown: dict[str, Any] = {
        "id": row.id,
        "type": row.type,
        "year": row.year,
        "text": row.content[:EXCERPT_CHARS],
        "kind": row.kind,
        "characters": row.characters,
    }
    shown |= {name: getattr(row, name) for name in ("source", "script", "language", "reason") if getattr(row, name)}
    if before := row.notes.get(ORIGINAL):
        whole = before if isinstance(before, str) else "\n".join(map(str, before))
        shown["before"], shown["after"] = around_first_difference(whole, row.content, CHANGED_CHARS)
    if row.kind != "text":
        shown |= {
            name: _excerpts(getattr(row, name)) for name in ("messages", "chosen", "rejected") if getattr(row, name)
        }
        shown["num_messages"] = len(row.all_messages)
    return shown


def _excerpts(messages: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    room = _Room(EXCERPT_CHARS)
    return [room.cut(message) for message in messages[:MOST_MESSAGES]]


@dataclass
class _Room:
    """Characters left for a conversation's messages. Each is shown a little of, however long the ones before it."""

    left: int

    def cut(self, message: dict[str, Any]) -> dict[str, Any]:
        content = message["content"]
        kept = content[: max(self.left, EXCERPT_CHARS // MOST_MESSAGES)]
        self.left -= len(kept)
        shown = {"role": message["role"], "content": kept + ("…" if len(kept) < len(content) else "")}
        calls = [_call(call) for call in message.get("tool_calls") or () if isinstance(call, dict)]
        return {**shown, **({"calls": calls[:4]} if calls else {})}


def _call(call: dict[str, Any]) -> str:
    function = call.get("function")
    function = function if isinstance(function, dict) else call
    return f"{function.get('name', '')}({function.get('arguments', '')})"[:200]
