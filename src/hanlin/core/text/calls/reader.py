"""Reads one reply: its thought, its text and its calls, in order, however the text is cut."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from hanlin.core.text.calls.source import BLANKS, Event, Reading, Source
from hanlin.core.text.calls.thoughts import Pair, read_thought


@dataclass(frozen=True)
class Form:
    """What a model has to write around names and arguments: `opening`, calls with `separator` between them, `closing`;
    a call is `before`, name, `between`, arguments, `after`."""

    before: str
    between: str
    after: str
    separator: str
    opening: str = ""
    closing: str = ""


class Family(Protocol):
    """How the models of a family write calls; each is a module.

    MARKS: texts that begin a call anywhere. BARE: characters that may begin one as the first of a reply. SPECIAL: what
    is a special token in some vocabulary, and markup.
    """

    @property
    def MARKS(self) -> tuple[str, ...]: ...

    @property
    def BARE(self) -> str: ...

    @property
    def SPECIAL(self) -> tuple[str, ...]: ...

    def is_of(self, spelled: str) -> bool:
        """Whether a model is of this family. spelled: its template and its special tokens."""
        ...

    def form(self, spelled: str) -> Form:
        """The one form, of those that `read` knows, in which this model was taught to call."""
        ...

    def read(self, source: Source) -> Reading[None]:
        """Read what follows a mark, or stands at a bare beginning, and drop it. What is still held then is text."""
        ...


class Reader:
    """One per reply. Joined, its events are the same for every cut; text without markup comes back unchanged.

    family: whose calls are read; None for no calls. pairs: what begins and ends a thought. names: the special tokens
    that are markup. A piece's text does not show them, its id does.
    """

    def __init__(self, family: Family | None, pairs: list[Pair], thought_open: bool, names: Mapping[int, str]):
        self._source, self._names = Source(), names
        self._reading = _read(self._source, family, pairs, thought_open)

    def push(self, text: str, token: int = -1) -> list[Event]:
        """What a piece's text (newly readable characters) and its token bring to light."""
        self._source.give(text + self._names.get(token, ""))
        return self._events()

    def finish(self) -> list[Event]:
        """What is still held. A call that had not come as far as its name and arguments is text."""
        self._source.ended = True
        return self._events()

    def _events(self) -> list[Event]:
        next(self._reading, None)
        return self._source.take_events()


def _read(source: Source, family: Family | None, pairs: list[Pair], thought_open: bool) -> Reading[None]:
    yield from read_thought(source, pairs, thought_open)
    if family is None:
        yield from source.until((), "text", "")
        return
    yield from source.skip()
    if (first := (yield from source.peek())) and first in family.BARE:
        yield from family.read(source)
        source.give_back()
    source.at = 0
    while (yield from source.until(family.MARKS, "text", BLANKS)):
        yield from family.read(source)
        source.give_back()
