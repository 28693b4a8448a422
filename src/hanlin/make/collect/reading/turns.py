"""The messages of a conversation as data sets write them: OpenAI's {role, content}, sharegpt's {from, value}.

Parts of a text, tool calls, and their names in LLaMA-Factory's sharegpt (function_call, observation) are understood.
Well-formed objects that can't become a conversation raise Refused: the row is rejected with that reason.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from hanlin.core.run.errors import HanlinError

Message = dict[str, Any]

_ROLES = {
    **dict.fromkeys(("user", "human"), "user"),
    **dict.fromkeys(("assistant", "gpt", "chatgpt", "bot", "model"), "assistant"),
    **dict.fromkeys(("system", "developer"), "system"),
    **dict.fromkeys(("tool", "function", "observation"), "tool"),
}

_CALL = "function_call"
"""A role whose text is a call of a tool, as JSON."""

_MORE = ("tool_calls", "tool_call_id", "name", "reasoning_content")
"""What a message may have besides role and content."""


class Refused(Exception):
    """Why a well-formed object can't become a conversation."""


def turns_of(value: list[Any], place: str, schema: str = "messages") -> list[Message]:
    """The messages of a list, in either spelling. `schema` names the layout in messages to people."""
    return [turn_of(turn, place, schema) for turn in value]


def turn_of(turn: Any, place: str, schema: str = "messages") -> Message:
    """One message. Raises HanlinError where it has no role or no content."""
    if not isinstance(turn, dict):
        raise _malformed(turn, place, schema)
    role_key = "from" if "from" in turn else "role"
    content_key = "value" if "value" in turn else "content"
    if role_key not in turn or not (content_key in turn or turn.get("tool_calls")):
        raise _malformed(turn, place, schema)
    spoken = str(turn[role_key])
    if spoken == _CALL:
        return _call(turn[content_key])
    role = _ROLES.get(spoken)
    if role is None:
        raise Refused(f"unsupported role: {spoken[:40]}")
    more = {name: turn[name] for name in _MORE if turn.get(name)}
    calls = more.get("tool_calls", [])
    if not (isinstance(calls, list) and all(isinstance(call, dict) and _is_named(call) for call in calls)):
        raise Refused("tool_calls without names")
    content = turn.get(content_key)
    return {"role": role, "content": "" if content is None and "tool_calls" in more else content_of(content), **more}


def content_of(content: Any) -> str:
    """A message's text; OpenAI's list of parts is joined where all are text."""
    if isinstance(content, str):
        return content
    if isinstance(content, list) and all(
        isinstance(part, dict) and isinstance(part.get("text"), str) for part in content
    ):
        return "\n".join(part["text"] for part in content)
    raise Refused("content is not text")


def tools_of(tools: Any) -> tuple[dict[str, Any], ...]:
    """The tools of a conversation; some data sets keep them as JSON in a text."""
    if isinstance(tools, str) and tools.strip():
        tools = _json(tools, "tools are not JSON")
    if tools and not (isinstance(tools, list) and all(isinstance(tool, dict) for tool in tools)):
        raise Refused("tools are not a list of objects")
    return tuple(tools or ())


def with_system(turns: list[Message], value: Mapping[str, Any]) -> list[Message]:
    """The turns after the object's own `system` text, where it has one and they don't begin with one."""
    system = value.get("system")
    if isinstance(system, str) and system.strip() and (not turns or turns[0]["role"] != "system"):
        return [{"role": "system", "content": system}, *turns]
    return turns


def said(role: str, content: str) -> Message:
    return {"role": role, "content": content}


def _call(content: Any) -> Message:
    """{"name": …, "arguments": …}, or a list of them, as JSON in a text."""
    calls = _json(content, "function_call is not JSON") if isinstance(content, str) else content
    calls = calls if isinstance(calls, list) else [calls]
    if not all(isinstance(call, dict) and _is_named(call) for call in calls):
        raise Refused("tool_calls without names")
    return {"role": "assistant", "content": "", "tool_calls": [{"type": "function", "function": c} for c in calls]}


def _is_named(call: Mapping[str, Any]) -> bool:
    """Whether a call says which function it calls."""
    function = call["function"] if isinstance(call.get("function"), dict) else call
    return isinstance(function.get("name"), str)


def _json(text: str, reason: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        raise Refused(reason) from None


def _malformed(turn: Any, place: str, schema: str) -> HanlinError:
    spelling = '{"from": …, "value": …}' if schema == "sharegpt" else '{"role": …, "content": …}'
    return HanlinError(
        f"{place}: a message is {json.dumps(turn, ensure_ascii=False, default=str)[:120]}.",
        spelling,
        "correct the message",
        "src/hanlin/make/collect/README.md",
    )
