"""A reply's text as it comes, and what it has turned out to be.

What reads it is written as a generator that yields wherever it needs more text than there is. So a reader is a plain
sequence of steps, and where the text happens to be cut can make no difference.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import Literal, TypeVar

Kind = Literal["text", "thought", "call", "arguments"]
Value = TypeVar("Value")
Reading = Generator[None, None, Value]
"""Reads from a source; yields to wait for more text."""

BLANKS = " \t\r\n"


@dataclass(frozen=True)
class Event:
    """What a reply's text turned out to be, in order.

    text: of text and thought their characters; of call the function's name, with which a new call begins; of arguments
    a piece of that call's JSON text.
    """

    kind: Kind
    text: str


class Source:
    """text: what is not told yet. Up to `at` it has been looked at and may still turn out to be a call or not."""

    def __init__(self) -> None:
        self.text, self.at, self.ended = "", 0, False
        self._events: list[Event] = []

    def give(self, text: str) -> None:
        self.text += text

    def tell(self, kind: Kind, text: str) -> None:
        """Neighbours of one kind become one event. A call is told with its name, so it is never empty."""
        last = self._events[-1] if self._events else None
        if last is not None and last.kind == kind != "call":
            self._events[-1] = Event(kind, last.text + text)
        elif text:
            self._events.append(Event(kind, text))

    def take_events(self) -> list[Event]:
        events, self._events = self._events, []
        return events

    def drop(self) -> None:
        """What was looked at is markup."""
        self.text, self.at = self.text[self.at :], 0

    def give_back(self) -> None:
        """What was looked at is text after all."""
        self.tell("text", self.text[: self.at])
        self.drop()

    def peek(self) -> Reading[str]:
        """The next character; "" at the end."""
        while self.at == len(self.text) and not self.ended:
            yield
        return self.text[self.at : self.at + 1]

    def skip(self, characters: str = BLANKS) -> Reading[None]:
        while (character := (yield from self.peek())) and character in characters:
            self.at += 1

    def take(self, wanted: str) -> Reading[bool]:
        """Whether exactly this comes next; only then it is passed."""
        while len(self.text) - self.at < len(wanted) and not self.ended:
            if not wanted.startswith(self.text[self.at :]):
                return False
            yield
        found = self.text.startswith(wanted, self.at)
        self.at += len(wanted) if found else 0
        return found

    def word(self) -> Reading[str]:
        """Letters, digits, hyphens, dots and underscores, as names and ids have them; "" where none comes."""
        start = self.at
        while (character := (yield from self.peek())) and (character.isalnum() or character in "_-."):
            self.at += 1
        return self.text[start : self.at]

    def until(self, marks: Sequence[str], kind: Kind, blanks: str = BLANKS) -> Reading[str]:
        """Tell everything before the first of the marks and stop behind it: the mark, or "" at the end without one.

        blanks: held together with a mark that follows them.
        """
        while True:
            places = {place: mark for mark in marks if (place := self.text.find(mark)) >= 0}
            if places:
                first = min(places)
                self._tell_up_to(first, kind, blanks)
                self.at = self.text.index(places[first]) + len(places[first])
                return places[first]
            if self.ended:
                self._tell_up_to(len(self.text), kind, "")
                return ""
            self._tell_up_to(len(self.text) - _length_of_start(self.text, marks), kind, blanks)
            yield

    def _tell_up_to(self, place: int, kind: Kind, blanks: str) -> None:
        before = self.text[:place].rstrip(blanks) if blanks else self.text[:place]
        self.tell(kind, before)
        self.text = self.text[len(before) :]


def _length_of_start(text: str, marks: Sequence[str]) -> int:
    """Length of the longest ending of `text` that a mark begins with."""
    longest = min(len(text), max(map(len, marks), default=1) - 1)
    return next((n for n in range(longest, 0, -1) if any(mark.startswith(text[-n:]) for mark in marks)), 0)
