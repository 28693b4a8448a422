"""One request in our own form, the same for every provider, and the hash by which it is known again."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from hanlin.core.connect.settings import Settings
from hanlin.core.run.errors import RequestError
from hanlin.core.text.messages import Message, check_messages

CHOICES = ("auto", "required", "none")


@dataclass(frozen=True)
class Request:
    """kind: "chat" answers `messages`; "complete" goes on with `prompt`; "embed" turns `texts` into vectors.

    tools: OpenAI's definitions. tool_choice: "auto", "required", "none", or the name of the one function to call.
    sample: which of several equal requests it is, from 0: each is recorded for itself.
    """

    kind: Literal["chat", "complete", "embed"]
    provider: str
    model: str
    messages: Sequence[Message] = ()
    prompt: str = ""
    texts: Sequence[str] = ()
    tools: Sequence[Mapping[str, Any]] = ()
    tool_choice: str = "auto"
    settings: Settings = field(default_factory=Settings)
    sample: int = 0

    @property
    def record(self) -> dict[str, Any]:
        """What of it counts, as JSON: neither the address it goes to nor any key."""
        given = {
            "messages": [dict(message) for message in self.messages],
            "prompt": self.prompt,
            "texts": list(self.texts),
            "tools": [dict(tool) for tool in self.tools],
            "tool_choice": "" if self.tool_choice == "auto" else self.tool_choice,
            "settings": self.settings.given,
        }
        named = {"kind": self.kind, "provider": self.provider, "model": self.model}
        return named | {name: value for name, value in given.items() if value}

    @property
    def hash(self) -> str:
        """sha256 of `record`, whatever the order of its fields."""
        text = json.dumps(self.record, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()

    @property
    def most_input_tokens(self) -> int:
        """No tokenizer makes more tokens of a text than it has bytes."""
        return len(json.dumps(self.record, ensure_ascii=False).encode())


def check_request(request: Request) -> Request:
    """The same. Raises HanlinError for messages, tools or a choice that no provider could take."""
    if request.kind == "chat":
        check_messages(request.messages)
    names = [function_of(tool).get("name") for tool in request.tools]
    if not all(isinstance(name, str) and name for name in names):
        raise _wrong_tools(f"Tool {[bool(name) for name in names].index(False)} has no name.")
    if request.tool_choice not in (*CHOICES, *names):
        raise _wrong_tools(f'tool_choice is "{request.tool_choice}", which is none of the tools.')
    if request.tool_choice not in ("auto", "none") and not names:
        raise _wrong_tools(f'tool_choice is "{request.tool_choice}", but there are no tools.')
    return request


def function_of(tool: Mapping[str, Any]) -> Mapping[str, Any]:
    """name, description and parameters, within OpenAI's {"type": "function", "function": …} or alone."""
    inner = tool.get("function")
    return inner if isinstance(inner, Mapping) else tool


def _wrong_tools(what: str) -> RequestError:
    return RequestError(
        what,
        '{"type": "function", "function": {"name": …, "description": …, "parameters": a JSON schema}}; '
        f"tool_choice: {', '.join(CHOICES)} or a tool's name",
        "correct the tools",
        "docs/connect.md#tools",
    )
