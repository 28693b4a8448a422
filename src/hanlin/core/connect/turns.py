"""What providers need of a message in OpenAI's form: its text, its calls, its own form from before."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from hanlin.core.connect.answer import Call
from hanlin.core.run.errors import RequestError
from hanlin.core.text.messages import Message

SYSTEM = ("system", "developer")


def text_of(message: Message) -> str:
    """The content as one text."""
    content = message.get("content")
    if isinstance(content, list):
        return "".join(part["text"] for part in content if "text" in part)
    return content or ""


def calls_of(message: Message) -> list[Call]:
    """The calls of a reply, arguments as JSON text."""
    calls = []
    for call in message.get("tool_calls") or ():
        function = call.get("function") or call
        arguments = function.get("arguments") or "{}"
        written = arguments if isinstance(arguments, str) else json.dumps(arguments, ensure_ascii=False)
        calls.append(Call(call.get("id") or "", function["name"], written))
    return calls


def argument_values(call: Call) -> dict[str, Any]:
    """For a provider that wants them as an object. Raises RequestError where an earlier reply's are none."""
    try:
        values = json.loads(call.arguments)
    except ValueError:
        values = None
    if not isinstance(values, dict):
        raise RequestError(
            f"The conversation has a call of {call.name} whose arguments are no JSON object: {call.arguments[:80]}",
            '{"name": value}',
            "correct the message or leave that turn out",
            "docs/connect.md#tools",
        )
    return values


def part_system(messages: Sequence[Message], provider: str) -> tuple[str, Sequence[Message]]:
    """(system text, the rest), for a provider that takes it apart from the conversation.

    Raises RequestError for a system message behind the beginning, which such a provider has no place for."""
    first = next((place for place, m in enumerate(messages) if m["role"] not in SYSTEM), len(messages))
    rest = messages[first:]
    late = next((place for place, m in enumerate(rest, start=first) if m["role"] in SYSTEM), None)
    if late is not None or not rest:
        where = f"Message {late} is a system message" if late is not None else "There are system messages only"
        raise RequestError(
            f"{where}: {provider} has no place for it.",
            "system messages before all others, and then another message",
            "move it to the beginning, or make it a user's message",
            "docs/connect.md#messages",
        )
    return "\n\n".join(text_of(message) for message in messages[:first]), rest


def origin_of(message: Message, provider: str) -> list[dict[str, Any]] | None:
    """The reply in this provider's own form, if it came from there and its text has not been changed since."""
    origin: Mapping[str, Any] = message.get("origin") or {}
    if origin.get("provider") != provider or origin.get("text") != text_of(message):
        return None
    same_calls = [call.name for call in calls_of(message)] == origin.get("calls")
    return origin["parts"] if same_calls else None


def new_origin(provider: str, parts: list[dict[str, Any]], text: str, names: Sequence[str]) -> dict[str, Any]:
    """What `origin_of` finds again."""
    return {"provider": provider, "parts": parts, "text": text, "calls": list(names)}
