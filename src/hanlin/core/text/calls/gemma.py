"""Gemma 1 to 3, which have no markup of their own for calls. Their maker's guide asks for a call as JSON,
`{"name": …, "parameters": {…}}`, or as Python, `[weather(city="臺北")]`; either comes alone or in a fence.

https://ai.google.dev/gemma/docs/capabilities/function-calling
"""

from __future__ import annotations

from hanlin.core.text.calls.called import read_called
from hanlin.core.text.calls.python_calls import calls_in
from hanlin.core.text.calls.reader import Form
from hanlin.core.text.calls.source import Reading, Source

FENCE = "```"
PYTHON, JSON = f"{FENCE}tool_code", f"{FENCE}json"
MARKS = (PYTHON, JSON)
BARE = "{["
SPECIAL: tuple[str, ...] = ()


def is_of(spelled: str) -> bool:
    return "<start_of_turn>" in spelled


def form(spelled: str) -> Form:
    return Form('{"name": "', '", "parameters": ', "}", separator=", ", opening="[", closing="]")


def read(source: Source) -> Reading[None]:
    if source.text.endswith(PYTHON, 0, source.at):
        yield from _read_python(source)
        return
    yield from source.skip()
    in_list = yield from source.take("[")
    yield from source.skip()
    start = source.at
    if in_list and (yield from source.word()):
        if (yield from source.peek()) == "(":
            yield from _read_python_list(source, start)
        return
    while (yield from read_called(source, needs_arguments=True)):
        yield from source.skip()
        source.drop()
        if not (yield from source.take(",")):
            yield from _close(source, in_list)
            return
        yield from source.skip()


def _close(source: Source, in_list: bool) -> Reading[None]:
    for end in ("]", FENCE) if in_list else (FENCE,):
        if (yield from source.take(end)):
            yield from source.skip()
            source.drop()


def _read_python(source: Source) -> Reading[None]:
    """Up to the fence's end, which Python can't hold but in a text."""
    start = source.at
    while FENCE not in source.text[start:] and not source.ended:
        source.at = len(source.text)
        yield
    inside, fence, _ = source.text[start:].partition(FENCE)
    source.at = start + len(inside) + len(fence)
    yield from _tell(source, inside)


def _read_python_list(source: Source, start: int) -> Reading[None]:
    """Up to the last bracket of the reply, with nothing but blanks behind it."""
    while not source.ended:
        source.at = len(source.text)
        yield
    source.at = len(source.text)
    inside = source.text[start:].rstrip()
    if inside.endswith("]"):
        yield from _tell(source, inside[:-1])


def _tell(source: Source, code: str) -> Reading[None]:
    calls = calls_in(code)
    for name, arguments in calls:
        source.tell("call", name)
        source.tell("arguments", arguments)
    if calls:
        yield from source.skip()
        source.drop()
