"""Rows as people keep them in files: one of several layouts, recognised by its keys.

    {"text": "…"}                                                          a document
    {"messages": [{"role": "user", "content": "…"}, …]}                    messages (OpenAI), with or without tools
    {"conversations": [{"from": "human", "value": "…"}, …]}                sharegpt
    {"instruction": "…", "input": "…", "output": "…"}                      alpaca; it may have `history`
    {"prompt": "…", "completion": "…"}                                     prompt and completion
    {"prompt": …, "chosen": …, "rejected": …}                              preference (DPO, ORPO), see preferences.py
    {"prompt": …, "completion": …, "label": true}                          judged reply (KTO), see preferences.py

An object may also give its own `year`, `type`, `group`, `language`, and a conversation its `system` and `tools`. A key
whose value is null counts as absent, and a list may stand as JSON in a text: so tables have them.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from difflib import get_close_matches
from typing import Any

from hanlin.core.run.errors import HanlinError
from hanlin.core.text.documents import Row
from hanlin.make.collect.reading.preferences import LABELS, history_of, judged, pair_of, verdict_of
from hanlin.make.collect.reading.turns import Message, Refused, said, tools_of, turns_of, with_system

SCHEMAS: dict[str, tuple[str, ...]] = {
    "preference": ("chosen", "rejected"),
    "OpenAI preference": ("input", "preferred_output", "non_preferred_output"),
    "messages": ("messages",),
    "sharegpt": ("conversations",),
    "alpaca": ("instruction", "output"),
    "completion": ("prompt", "completion"),
    "text": ("text",),
}
"""The keys that make a layout, in the order in which they are tried."""

_KEYS = {schema: frozenset(keys) for schema, keys in SCHEMAS.items()}

_SPELLED = {
    "preference": '{"prompt", "chosen", "rejected"}',
    "OpenAI preference": '{"input", "preferred_output", "non_preferred_output"}',
    "messages": '{"messages": [{"role", "content"}]}',
    "sharegpt": '{"conversations": [{"from", "value"}]}',
    "alpaca": '{"instruction", "output"}',
    "completion": '{"prompt", "completion"}, with "label": true or false for KTO',
    "text": '{"text": …}',
}

_LISTS = ("messages", "conversations")
_TEXTS = ("text", "instruction", "output")
_OTHER_KEYS = ("prompt", "input", "system", "history", "tools", *LABELS, "year", "type", "group", "language")
_OFTEN_MEANT = {
    **dict.fromkeys(("response", "answer", "reply", "target", "completions", "responses"), ("output", "completion")),
    **dict.fromkeys(("question", "query", "user"), ("instruction", "prompt")),
    **dict.fromkeys(("context",), ("input",)),
    **dict.fromkeys(("conversation", "dialog", "dialogue", "turns"), ("conversations",)),
    **dict.fromkeys(("content", "document", "body", "passage"), ("text",)),
    **dict.fromkeys(("better", "preferred", "winner"), ("chosen",)),
    **dict.fromkeys(("worse", "dispreferred", "loser"), ("rejected",)),
}
"""Names that others use for a key of ours."""


def row_from(value: Any, row_id: str, place: str) -> Row:
    """The row that an object of a file holds, in whichever layout. `place` names file and line in messages. Raises
    HanlinError for an unknown layout; a conversation that can't be one is rejected with the reason."""
    value, schema = _recognised(value, place)
    facts: dict[str, Any] = {
        "id": row_id,
        "year": _year(value.get("year")),
        "group": str(value.get("group") or ""),
        "language": str(value.get("language") or ""),
    }
    kind = str(value.get("type") or "")
    if schema == "text":
        return Row(text=value["text"], type=kind or "document", **facts)
    try:
        facts["tools"] = tools_of(value.get("tools") or _tools_inside(value, schema))
        if schema.endswith("preference"):
            prompt, chosen, rejected = pair_of(value, place)
        else:
            prompt, chosen, rejected = _conversation(value, schema, place), [], []
            liked = verdict_of(value)
            if liked is not None:
                prompt, chosen, rejected = judged(prompt, liked)
    except Refused as refused:
        kept = json.dumps(value, ensure_ascii=False, default=str)
        return Row(messages=(said("user", kept),), type=kind or "conversation", reason=str(refused), **facts)
    kind = kind or ("preference" if chosen or rejected else "conversation")
    return Row(messages=tuple(prompt), chosen=tuple(chosen), rejected=tuple(rejected), type=kind, **facts)


def _recognised(value: Any, place: str) -> tuple[dict[str, Any], str]:
    """The object without its nulls, and its layout."""
    if not isinstance(value, dict):
        raise _unknown(f"{place}: unknown layout, it has a {type(value).__name__}.", "", "")
    present = {key: _listed(key, part) for key, part in value.items() if part is not None}
    names = present.keys()
    for schema, keys in _KEYS.items():
        if names >= keys and all(_fits(key, present[key]) for key in keys):
            return present, schema
    raise _nearest(value, place)


def _listed(key: Any, part: Any) -> Any:
    """A list of messages that a table keeps as JSON in a text."""
    if isinstance(part, str) and part[:2] == "[{" and key in (*_LISTS, "prompt", "completion", "chosen", "rejected"):
        try:
            return json.loads(part)
        except (ValueError, RecursionError):
            return part
    return part


def _fits(key: str, part: Any) -> bool:
    if key in _LISTS:
        return isinstance(part, list)
    return isinstance(part, str) if key in _TEXTS else isinstance(part, str | list | dict)


def _conversation(value: Mapping[str, Any], schema: str, place: str) -> list[Message]:
    return with_system(_CONVERSATIONS[schema](value, place), value)


def _messages(value: Mapping[str, Any], place: str) -> list[Message]:
    turns = turns_of(value["messages"], place)
    if not turns:
        raise Refused("no messages")
    return turns


def _sharegpt(value: Mapping[str, Any], place: str) -> list[Message]:
    turns = turns_of(value["conversations"], place, "sharegpt")
    if not turns:
        raise Refused("no messages")
    return turns


def _alpaca(value: Mapping[str, Any], place: str) -> list[Message]:
    """Instruction and input become the question, separated by a blank line; earlier turns may stand in `history`."""
    given = value.get("input")
    question = (
        f"{value['instruction']}\n\n{given}" if isinstance(given, str) and given.strip() else value["instruction"]
    )
    return [*history_of(value), said("user", question), said("assistant", value["output"])]


def _completion(value: Mapping[str, Any], place: str) -> list[Message]:
    """Each of the two is a text or a list of messages."""
    turns: list[Message] = []
    for key, role in (("prompt", "user"), ("completion", "assistant")):
        part = value[key]
        turns += (
            [said(role, part)] if isinstance(part, str) else turns_of(part if isinstance(part, list) else [part], place)
        )
    return turns


_CONVERSATIONS: dict[str, Callable[[Mapping[str, Any], str], list[Message]]] = {
    "messages": _messages,
    "sharegpt": _sharegpt,
    "alpaca": _alpaca,
    "completion": _completion,
}


def _tools_inside(value: Mapping[str, Any], schema: str) -> Any:
    asked = value.get("input")
    return asked.get("tools") if schema == "OpenAI preference" and isinstance(asked, dict) else None


def _year(year: Any) -> int | None:
    if isinstance(year, str) and year.strip().lstrip("-").isdecimal():
        year = int(year[:12])
    return year if isinstance(year, int) and not isinstance(year, bool) and abs(year) < 10_000 else None


# What to say about a row that is in none of the layouts.


def _nearest(value: Mapping[str, Any], place: str) -> HanlinError:
    """The layout that lacks least, what it lacks, and which key of the object probably means it."""
    found = ", ".join(map(repr, value)) or "none"
    what = f"{place}: unknown layout, it has the keys {found[:200]}."
    present = set(value)
    schema, lacking, meant = min(
        ((schema, *_lacks(keys, value)) for schema, keys in SCHEMAS.items()),
        key=lambda one: (
            len(one[1]) - 0.5 * len(one[2]) - 0.5 * len(present.intersection(one[1])),
            -len(SCHEMAS[one[0]]),
        ),
    )
    if not meant and not present.intersection(SCHEMAS[schema]):
        return _unknown(what, "", "")
    wrong = [key for key in lacking if key in value]
    said_of = [f'"{key}" is {_called(key, value[key])}' for key in wrong]
    said_of += [f'"{key}" is missing' for key in lacking if key not in value]
    renames = " and ".join(f'"{old}" to "{new}"' for old, new in meant.items())
    if renames:
        fix = f"rename {renames}"
    else:
        fix = (
            f"correct {wrong[0]}"
            if wrong
            else f"add {', '.join(map(repr, lacking))}, or rename the keys to one of these layouts"
        )
    return _unknown(what, f"nearest is {schema} {_SPELLED[schema]}: {', '.join(said_of)}", fix)


def _lacks(keys: tuple[str, ...], value: Mapping[str, Any]) -> tuple[list[str], dict[str, str]]:
    """Keys of a layout that an object lacks (or has with a value of another kind), and {its own key: key it means}."""
    lacking = [key for key in keys if value.get(key) is None or not _fits(key, _listed(key, value[key]))]
    known = {*_OTHER_KEYS, *(key for needed in SCHEMAS.values() for key in needed)}
    meant: dict[str, str] = {}
    for key in (str(key) for key in value if str(key) not in known):
        wanted = [name for name in lacking if name not in meant.values() and name not in value]
        close = get_close_matches(key.strip().lower(), wanted, n=1, cutoff=0.75)
        close = close or [name for name in _OFTEN_MEANT.get(key.strip().lower(), ()) if name in wanted]
        if close:
            meant[key] = close[0]
    return lacking, meant


def _called(key: str, part: Any) -> str:
    names = {"NoneType": "null", "str": "a text", "list": "a list", "dict": "an object", "bool": "true or false"}
    found = names.get(type(part).__name__, "a number")
    return f"{found}, not {'a list of messages' if key in _LISTS else 'a text'}"


def _unknown(what: str, nearest: str, fix: str) -> HanlinError:
    layouts = " or ".join(f"{name} {keys}" for name, keys in _SPELLED.items())
    return HanlinError(
        what,
        f"{nearest}. All layouts: {layouts}" if nearest else layouts,
        fix or "rename the keys to one of these layouts",
        "src/hanlin/make/collect/README.md",
    )
