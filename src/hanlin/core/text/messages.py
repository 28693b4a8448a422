"""A conversation as people write it down: messages with roles, texts, thoughts, tool calls and tool results."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import takewhile
from typing import Any

from hanlin.core.run.errors import HanlinError

Message = Mapping[str, Any]
"""role, content (text, a list of parts, or None beside tool_calls); for the assistant also tool_calls (OpenAI's: id,
type, function {name, arguments}) and reasoning_content; for a tool tool_call_id and name."""

ROLES = ("system", "developer", "user", "assistant", "tool")

_THOUGHTS = ("reasoning_content", "thinking", "reasoning")


@dataclass(frozen=True)
class ToolForm:
    """How a template wants a message with tool calls.

    arguments_are: "object", or "text" (JSON). content: what stands for no text: a text, None, or nothing at all.
    """

    arguments_are: str = "object"
    content: str | None = None
    has_content: bool = False


TOOL_FORMS = (ToolForm(), ToolForm("object", "", True), ToolForm("text", "", True), ToolForm("text", None, True))
"""In the order in which they are tried; the first is what transformers hands over."""


def check_messages(messages: Sequence[Message]) -> None:
    """Raises HanlinError for an empty conversation, an unknown role or a missing text."""
    if not messages:
        raise HanlinError(
            "The conversation is empty.", "at least one message", 'add {"role": "user", "content": "…"}', "docs/chat.md"
        )
    for place, message in enumerate(messages):
        if message.get("role") not in ROLES or not _has_text(message) or not _calls_are_named(message):
            raise HanlinError(
                f"Message {place} is not a message: {str(dict(message))[:80]}",
                f"role ({', '.join(ROLES)}) and content (text), or tool_calls with names",
                "correct the message",
                "docs/chat.md",
            )


def opening(messages: Sequence[Message]) -> list[Message]:
    """What stands before the first reply: what the model is asked. Empty where the conversation begins with one."""
    return list(takewhile(lambda message: message["role"] != "assistant", messages))


def thought_of(message: Message) -> str:
    """The reasoning before a reply, from its own field or from a content that shows it."""
    for name in _THOUGHTS:
        if message.get(name):
            return str(message[name])
    content = message.get("content")
    return content.partition("</think>")[0] if isinstance(content, str) and "</think>" in content else ""


def names_of_calls(message: Message) -> list[str]:
    return [_function(call)["name"] for call in message.get("tool_calls") or ()]


def for_template(message: Message, form: ToolForm, knows_developer: bool) -> dict[str, Any]:
    """A message as templates expect it: fields without a value left out, one text, one name for thoughts, tool
    arguments in the template's form. A template that doesn't know OpenAI's role developer gets system."""
    kept = {name: value for name, value in message.items() if value is not None and value != []}
    if kept["role"] == "developer" and not knows_developer:
        kept["role"] = "system"
    if isinstance(kept.get("content"), list):
        kept |= _joined(kept["content"])
    if (thought := next((kept[name] for name in _THOUGHTS if name in kept), None)) is not None:
        kept = {"thinking": thought, **kept, "reasoning_content": thought}
    if "tool_calls" in kept:
        kept["tool_calls"] = [_with_arguments(call, form) for call in kept["tool_calls"]]
        if not kept.get("content"):
            kept.pop("content", None)
            kept |= {"content": form.content} if form.has_content else {}
    return kept


def _has_text(message: Message) -> bool:
    content = message.get("content")
    if isinstance(content, list):
        return all(isinstance(part, Mapping) and isinstance(_part(part), str) for part in content)
    wordless = message["role"] == "assistant" and (message.get("tool_calls") or message.get("reasoning_content"))
    return isinstance(content, str) or (content is None and bool(wordless))


def _calls_are_named(message: Message) -> bool:
    calls = message.get("tool_calls") or ()
    return isinstance(calls, list | tuple) and all(
        isinstance(call, Mapping) and isinstance(_function(call).get("name"), str) for call in calls
    )


def _function(call: Mapping[str, Any]) -> Mapping[str, Any]:
    """Where name and arguments stand: OpenAI's inner object, or the call itself."""
    inner = call.get("function")
    return inner if isinstance(inner, Mapping) else call


def _with_arguments(call: Mapping[str, Any], form: ToolForm) -> dict[str, Any]:
    arguments = _function(call).get("arguments", {})
    if form.arguments_are == "object" and isinstance(arguments, str):
        with suppress(ValueError):  # a text that is no JSON stays one
            arguments = json.loads(arguments)
    elif form.arguments_are == "text" and not isinstance(arguments, str):
        arguments = json.dumps(arguments, ensure_ascii=False)
    function = {**_function(call), "arguments": arguments}
    return {**call, "function": function} if isinstance(call.get("function"), Mapping) else function


def _joined(parts: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """Parts of type text become one content, parts of type thinking the thought."""
    thoughts = [_part(part) for part in parts if "thinking" in part]
    joined = {"content": "".join(_part(part) for part in parts if "thinking" not in part)}
    return joined | ({"reasoning_content": "".join(thoughts)} if thoughts else {})


def _part(part: Mapping[str, Any]) -> Any:
    return part.get("thinking", part.get("text"))
