"""What a model answered: pieces while it comes, an `Answer` once it is whole. The same for every provider."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from hanlin.core.run.errors import HanlinError

PAGE = "docs/connect.md"


@dataclass(frozen=True)
class Piece:
    """text, thought: characters. call: a function's name (a call begins). arguments: a piece of that call's JSON text.

    call: the number of the call among the reply's, from 0. id: the call's own, by which its result is sent back.
    """

    kind: Literal["text", "thought", "call", "arguments"]
    text: str
    call: int = 0
    id: str = ""


@dataclass(frozen=True)
class Usage:
    """Tokens as the provider counts and bills them. thought_tokens are part of output_tokens, cached_tokens of
    input_tokens."""

    input_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0
    thought_tokens: int = 0


@dataclass(frozen=True)
class Call:
    """The model wants this function called. arguments: JSON text, as the model wrote it."""

    id: str
    name: str
    arguments: str

    @property
    def values(self) -> dict[str, Any]:
        """The arguments by name. Raises HanlinError when what the model wrote is no JSON object."""
        values = _json_of(self.arguments or "{}", f"The arguments of {self.name}")
        if not isinstance(values, dict):
            raise HanlinError(
                f"The arguments of {self.name} are no JSON object: {self.arguments[:80]}",
                '{"name": value}',
                "ask again, or send the model this message as the tool's result",
                f"{PAGE}#tools",
            )
        return values


@dataclass(frozen=True)
class End:
    """What is known of a reply when it ends. usage: None where the provider doesn't say.

    origin: the reply in the provider's own form, where sending it back needs what OpenAI's form can't hold (signed
    thoughts).
    """

    finish: str
    usage: Usage | None = None
    model: str = ""
    origin: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Answer:
    """A whole reply.

    finish: "stop", "length" (max_tokens or the context is used up), "tool_calls", "content_filter" (the provider took
    it away) or "refusal" (the model declines; `text` says why, where it does).
    """

    text: str
    thought: str = ""
    calls: tuple[Call, ...] = ()
    finish: str = "stop"
    usage: Usage | None = None
    model: str = ""
    origin: Mapping[str, Any] = field(default_factory=dict)

    @property
    def message(self) -> dict[str, Any]:
        """The reply as a message, to be put behind the conversation it answers."""
        message: dict[str, Any] = {"role": "assistant", "content": self.text or (None if self.calls else "")}
        if self.thought:
            message["reasoning_content"] = self.thought
        if self.calls:
            message["tool_calls"] = [
                {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
                for call in self.calls
            ]
        return message | ({"origin": dict(self.origin)} if self.origin else {})

    @property
    def value(self) -> Any:
        """The text read as JSON. Raises HanlinError when it is none: a reply that was cut or refused, say."""
        return _json_of(self.text, f"The reply ({self.finish})")


class Gathering:
    """Pieces in, an Answer out."""

    def __init__(self) -> None:
        self._texts: list[str] = []
        self._thoughts: list[str] = []
        self._calls: dict[int, list[str]] = {}

    def add(self, piece: Piece) -> None:
        if piece.kind == "text":
            self._texts.append(piece.text)
        elif piece.kind == "thought":
            self._thoughts.append(piece.text)
        elif piece.kind == "call":
            self._calls[piece.call] = [piece.id, piece.text, ""]
        else:
            self._calls[piece.call][2] += piece.text

    def answer(self, end: End) -> Answer:
        calls = tuple(Call(*self._calls[number]) for number in sorted(self._calls))
        text, thought = "".join(self._texts), "".join(self._thoughts)
        return Answer(text, thought, calls, end.finish, end.usage, end.model, end.origin)


class Stream(Iterator[Piece]):
    """Pieces as they come; `answer` when they have ended. `close` stops the reply."""

    def __init__(self, events: Iterator[Piece | End]):
        self._events, self._gathering = events, Gathering()
        self._answer: Answer | None = None

    def __next__(self) -> Piece:
        event = next(self._events)
        if isinstance(event, End):
            self._answer = self._gathering.answer(event)
            return self.__next__()
        self._gathering.add(event)
        return event

    def close(self) -> None:
        close = getattr(self._events, "close", None)
        if close is not None:
            close()

    @property
    def answer(self) -> Answer:
        """The whole reply. What has not been read yet is read first."""
        for _ in self:
            pass
        assert self._answer is not None, "every stream ends with an End, or raises"
        return self._answer


def events_of(answer: Answer) -> Iterator[Piece | End]:
    """A reply that is known already, as if it came now."""
    if answer.thought:
        yield Piece("thought", answer.thought)
    if answer.text:
        yield Piece("text", answer.text)
    for number, call in enumerate(answer.calls):
        yield Piece("call", call.name, number, call.id)
        yield Piece("arguments", call.arguments, number)
    yield End(answer.finish, answer.usage, answer.model, answer.origin)


def _json_of(text: str, what: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        raise HanlinError(
            f"{what} is no JSON: {text[:80]!r}",
            "JSON",
            "ask again, with json_schema=… for a reply, and enough max_tokens",
            f"{PAGE}#form",
        ) from None
