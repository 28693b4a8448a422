"""A conversation as it grows, and how one goes back in it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from hanlin.core.text.messages import Message

SYSTEM = ("system", "developer")


class Refusal(Exception):
    """What a person wants of the conversation can't be done; they read why, and the conversation goes on."""


class Dialogue:
    """messages: system messages first, then questions and replies. tools: what a loaded conversation brought along."""

    def __init__(self, messages: Sequence[Message] = (), tools: Sequence[Mapping[str, Any]] = ()):
        self.messages, self.tools = list(messages), list(tools)

    @property
    def questions(self) -> list[int]:
        """Where in `messages` they stand."""
        return [place for place, message in enumerate(self.messages) if message["role"] == "user"]

    def ask(self, text: str) -> None:
        self.messages.append({"role": "user", "content": text})

    def answer(self, message: Message) -> None:
        self.messages.append(message)

    def question(self, number: int = 0) -> str:
        """The text of a question, counted from 1; 0 for the last. Raises Refusal where there is none."""
        return text_of(self.messages[self._place(number)])

    def take_back(self, number: int = 0) -> None:
        """Forget a question and all that followed."""
        del self.messages[self._place(number) :]

    def take_back_reply(self) -> None:
        """Forget what followed the last question."""
        del self.messages[self._place(0) + 1 :]

    def set_system(self, text: str) -> None:
        """In place of all system messages at the beginning; "" for none."""
        first = next((n for n, m in enumerate(self.messages) if m["role"] not in SYSTEM), len(self.messages))
        self.messages[:first] = [{"role": "system", "content": text}] if text else []

    def _place(self, number: int) -> int:
        places = self.questions
        if not places:
            raise Refusal("還沒有問過問題。")
        if not 0 <= number <= len(places):
            raise Refusal(f"沒有第 {number} 問，目前只有 {len(places)} 問。")
        return places[number - 1]


def text_of(message: Message) -> str:
    """What a message says, without thoughts and calls."""
    content = message.get("content") or ""
    if isinstance(content, str):
        return content
    return "".join(part.get("text", "") for part in content if part.get("type") == "text")
