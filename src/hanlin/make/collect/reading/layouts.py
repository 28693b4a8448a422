"""Rows as people keep them in files: one of several layouts, recognised by its keys.

    {"text": "…"}                                                          a document
    {"messages": [{"role": "user", "content": "…"}, …]}                    messages (OpenAI), with or without tools
    {"conversations": [{"from": "human", "value": "…"}, …]}                sharegpt
    {"instruction": "…", "input": "…", "output": "…"}                      alpaca

An object may also give its own `year`, `type` and `group`, and a conversation its `tools`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from hanlin.core.run.errors import HanlinError
from hanlin.core.text.documents import Row

SCHEMAS = {
    "text": '{"text": …}',
    "messages": '{"messages": [{"role", "content"}]}',
    "sharegpt": '{"conversations": [{"from", "value"}]}',
    "alpaca": '{"instruction", "output"}',
}

_ROLES = {
    **dict.fromkeys(("user", "human"), "user"),
    **dict.fromkeys(("assistant", "gpt", "chatgpt", "bot", "model"), "assistant"),
    **dict.fromkeys(("system", "developer"), "system"),
    "tool": "tool",
}

_MORE = ("tool_calls", "tool_call_id", "name", "reasoning_content")
"""What a message may have besides role and content."""


class _Refused(Exception):
    """Why a well-formed line can't become a conversation."""


def row_from(value: Any, row_id: str, place: str) -> Row:
    """The row that an object of a file holds, in whichever layout. `place` names file and line in messages. Raises
    HanlinError for an unknown layout; a conversation that can't be one is rejected with the reason."""
    schema = _schema_of(value, place)
    facts: dict[str, Any] = {
        "id": row_id,
        "year": _year(value.get("year")),
        "type": str(value.get("type") or ("document" if schema == "text" else "conversation")),
        "group": str(value.get("group") or ""),
    }
    if schema == "text":
        return Row(text=value["text"], **facts)
    try:
        return Row(messages=_messages(value, schema, place), tools=_tools(value.get("tools")), **facts)
    except _Refused as refused:
        kept = json.dumps(value, ensure_ascii=False)
        return Row(messages=({"role": "user", "content": kept},), reason=str(refused), **facts)


def _schema_of(value: Any, place: str) -> str:
    if isinstance(value, dict):
        if isinstance(value.get("messages"), list):
            return "messages"
        if isinstance(value.get("conversations"), list):
            return "sharegpt"
        if isinstance(value.get("instruction"), str) and isinstance(value.get("output"), str):
            return "alpaca"
        if isinstance(value.get("text"), str):
            return "text"
    found = (
        f"the keys {', '.join(map(repr, value)) or 'none'}" if isinstance(value, dict) else f"a {type(value).__name__}"
    )
    raise HanlinError(
        f"{place}: unknown layout, it has {found[:200]}.",
        " or ".join(f"{name} {layout}" for name, layout in SCHEMAS.items()),
        "rename the keys to one of these layouts",
        "src/hanlin/make/collect/README.md",
    )


def _messages(value: Mapping[str, Any], schema: str, place: str) -> tuple[dict[str, Any], ...]:
    if schema == "alpaca":
        return _alpaca(value)
    if schema == "messages":
        turns = [_turn(turn, "role", "content", place) for turn in value["messages"]]
    else:
        turns = [_turn(turn, "from", "value", place) for turn in value["conversations"]]
    if not turns:
        raise _Refused("no messages")
    system = value.get("system")
    if isinstance(system, str) and system and turns[0]["role"] != "system":
        turns.insert(0, {"role": "system", "content": system})
    return tuple(turns)


def _turn(turn: Any, role_key: str, content_key: str, place: str) -> dict[str, Any]:
    has_text = isinstance(turn, dict) and (content_key in turn or turn.get("tool_calls"))
    if not has_text or role_key not in turn:
        raise HanlinError(
            f"{place}: a message is {json.dumps(turn, ensure_ascii=False)[:120]}.",
            f'{{"{role_key}": …, "{content_key}": …}}',
            "correct the message",
            "src/hanlin/make/collect/README.md",
        )
    role = _ROLES.get(str(turn[role_key]))
    if role is None:
        raise _Refused(f"unsupported role: {str(turn[role_key])[:40]}")
    more = {name: turn[name] for name in _MORE if turn.get(name)}
    calls = more.get("tool_calls", [])
    if not (isinstance(calls, list) and all(isinstance(call, dict) and _is_named(call) for call in calls)):
        raise _Refused("tool_calls without names")
    content = turn.get(content_key)
    return {"role": role, "content": "" if content is None and "tool_calls" in more else _content(content), **more}


def _is_named(call: Mapping[str, Any]) -> bool:
    """Whether a call says which function it calls."""
    function = call["function"] if isinstance(call.get("function"), dict) else call
    return isinstance(function.get("name"), str)


def _tools(tools: Any) -> tuple[dict[str, Any], ...]:
    """The tools of a conversation; some data sets keep them as JSON in a text."""
    if isinstance(tools, str):
        try:
            tools = json.loads(tools)
        except ValueError:
            raise _Refused("tools are not JSON") from None
    if tools and not (isinstance(tools, list) and all(isinstance(tool, dict) for tool in tools)):
        raise _Refused("tools are not a list of objects")
    return tuple(tools or ())


def _content(content: Any) -> str:
    """A message's text; OpenAI's list of parts is joined where all are text."""
    if isinstance(content, str):
        return content
    if isinstance(content, list) and all(
        isinstance(part, dict) and isinstance(part.get("text"), str) for part in content
    ):
        return "\n".join(part["text"] for part in content)
    raise _Refused("content is not text")


def _alpaca(value: Mapping[str, Any]) -> tuple[dict[str, str], ...]:
    """Instruction and input become the question, separated by a blank line; earlier turns may stand in `history`."""
    turns = []
    if isinstance(value.get("system"), str) and value["system"]:
        turns.append({"role": "system", "content": value["system"]})
    for pair in value.get("history") or ():
        if not (isinstance(pair, list) and len(pair) == 2 and all(isinstance(text, str) for text in pair)):
            raise _Refused("history is not pairs of text")
        turns += [{"role": "user", "content": pair[0]}, {"role": "assistant", "content": pair[1]}]
    given = value.get("input")
    question = (
        f"{value['instruction']}\n\n{given}" if isinstance(given, str) and given.strip() else value["instruction"]
    )
    return (*turns, {"role": "user", "content": question}, {"role": "assistant", "content": value["output"]})


def _year(year: Any) -> int | None:
    if isinstance(year, str) and year.strip().lstrip("-").isdecimal():
        year = int(year[:12])
    return year if isinstance(year, int) and not isinstance(year, bool) and abs(year) < 10_000 else None
