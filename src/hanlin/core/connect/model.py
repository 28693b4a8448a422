"""What data synthesis, judges and agents may ask of any model, remote or local."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

from hanlin.core.connect.answer import Answer, Stream
from hanlin.core.run.errors import HanlinError
from hanlin.core.text.messages import Message

Tools = Sequence[Mapping[str, Any]]
"""OpenAI's definitions: {"type": "function", "function": {name, description, parameters}}."""


@dataclass(frozen=True)
class Many:
    """Answers in the order of what was asked; None where it failed, and `failures` says why."""

    answers: list[Answer | None]
    failures: dict[int, HanlinError] = field(default_factory=dict)


@runtime_checkable
class Model(Protocol):
    """Messages, tools and their results are in OpenAI's form. Settings are named as in `hanlin.generate`.

    Every method raises HanlinError for what can't be asked, and for what did not come.
    """

    name: str

    def chat(self, messages: Sequence[Message], **settings: Any) -> Iterator[str]:
        """The reply's text, piece by piece, without thoughts and calls."""
        ...

    def generate(self, prompt: str, **settings: Any) -> Iterator[str]:
        """How a text goes on, piece by piece."""
        ...

    def stream(
        self, messages: Sequence[Message], *, tools: Tools = (), tool_choice: str = "auto", **settings: Any
    ) -> Stream:
        """Texts, thoughts and calls as they come; `Stream.answer` at the end."""
        ...

    def reply(
        self, messages: Sequence[Message], *, tools: Tools = (), tool_choice: str = "auto", **settings: Any
    ) -> Answer:
        """The whole reply."""
        ...

    def embed(self, texts: Sequence[str]) -> list[list[float]]:
        """One vector for each text."""
        ...

    def many(self, asked: Sequence[str | Sequence[Message]], *, at_once: int = 8, **settings: Any) -> Many:
        """Many replies, `at_once` at the same time. A text stands for a conversation of one question."""
        ...


def conversation(asked: str | Sequence[Message]) -> Sequence[Message]:
    """A text as a conversation of one question."""
    return [{"role": "user", "content": asked}] if isinstance(asked, str) else asked
