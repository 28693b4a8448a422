"""OpenAI's two shapes of a reply: a message, or a text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from hanlin.core.text.calls import Event
from hanlin.use.serve.spoken import Call, Spoken
from hanlin.use.serve.token_log import Entry, in_chat, in_text


class Shape(Protocol):
    """prefix: of the reply's id. whole_kind, chunk_kind: what `object` says."""

    prefix: str
    whole_kind: str
    chunk_kind: str

    def whole(self, index: int, spoken: Spoken) -> dict[str, Any]:
        """A choice's content."""
        ...

    def begin(self, index: int) -> dict[str, Any] | None:
        """The content of a choice's first chunk; None where there is nothing to say."""
        ...

    def delta(self, event: Event, calls: Sequence[Call]) -> dict[str, Any]:
        """The content of the chunk for one event."""
        ...

    def nothing(self) -> dict[str, Any]:
        """The content of a chunk that only says how it ended."""
        ...

    def logprobs(self, entries: Sequence[Entry]) -> dict[str, Any]: ...


class ChatShape:
    """A message of the assistant. words: the bytes of every token, for log-probabilities."""

    prefix, whole_kind, chunk_kind = "chatcmpl-", "chat.completion", "chat.completion.chunk"

    def __init__(self, words: Sequence[bytes] = ()):
        self._words = words

    def whole(self, index: int, spoken: Spoken) -> dict[str, Any]:
        text = "".join(spoken.texts)
        message: dict[str, Any] = {
            "role": "assistant",
            "content": text or (None if spoken.calls else ""),
            "refusal": None,
        }
        if spoken.thoughts:
            message["reasoning_content"] = "".join(spoken.thoughts)
        if spoken.calls:
            message["tool_calls"] = [_call(call, "".join(call.arguments)) for call in spoken.calls]
        return {"message": message}

    def begin(self, index: int) -> dict[str, Any] | None:
        return {"delta": {"role": "assistant", "content": ""}}

    def delta(self, event: Event, calls: Sequence[Call]) -> dict[str, Any]:
        if event.kind == "text":
            return {"delta": {"content": event.text}}
        if event.kind == "thought":
            return {"delta": {"reasoning_content": event.text}}
        place = len(calls) - 1
        if event.kind == "call":
            return {"delta": {"tool_calls": [{"index": place, **_call(calls[place], "")}]}}
        return {"delta": {"tool_calls": [{"index": place, "function": {"arguments": event.text}}]}}

    def nothing(self) -> dict[str, Any]:
        return {"delta": {}}

    def logprobs(self, entries: Sequence[Entry]) -> dict[str, Any]:
        return in_chat(entries, self._words)


class TextShape:
    """A text. echoed: with what each begins, by index."""

    prefix, whole_kind, chunk_kind = "cmpl-", "text_completion", "text_completion"

    def __init__(self, words: Sequence[bytes] = (), echoed: Sequence[str] = ()):
        self._words, self._echoed = words, echoed

    def whole(self, index: int, spoken: Spoken) -> dict[str, Any]:
        return {"text": self._echoed[index] + "".join(spoken.texts)}

    def begin(self, index: int) -> dict[str, Any] | None:
        return {"text": self._echoed[index]} if self._echoed[index] else None

    def delta(self, event: Event, calls: Sequence[Call]) -> dict[str, Any]:
        return {"text": event.text}

    def nothing(self) -> dict[str, Any]:
        return {"text": ""}

    def logprobs(self, entries: Sequence[Entry]) -> dict[str, Any]:
        return in_text(entries, self._words)


def _call(call: Call, arguments: str) -> dict[str, Any]:
    return {"id": call.key, "type": "function", "function": {"name": call.name, "arguments": arguments}}
