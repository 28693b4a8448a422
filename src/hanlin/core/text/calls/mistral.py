"""Mistral: `[TOOL_CALLS]` and a list of calls; since version 11 of its tokenizer `[TOOL_CALLS]name[ARGS]{…}`, again for
each call. The marks are special tokens.

https://github.com/mistralai/mistral-common, https://docs.mistral.ai/capabilities/function_calling
"""

from __future__ import annotations

from hanlin.core.text.calls.called import read_called, tell_object
from hanlin.core.text.calls.reader import Form
from hanlin.core.text.calls.source import Reading, Source

CALLS, ID, ARGUMENTS = "[TOOL_CALLS]", "[CALL_ID]", "[ARGS]"
MARKS = (CALLS,)
BARE = ""
SPECIAL = (CALLS, ID, ARGUMENTS)


def is_of(spelled: str) -> bool:
    return CALLS in spelled


def form(spelled: str) -> Form:
    if ARGUMENTS in spelled:
        return Form(CALLS, ARGUMENTS, "", separator="")
    blank = " " if f"{CALLS} [" in spelled else ""
    return Form('{"name": "', '", "arguments": ', "}", separator=", ", opening=f"{CALLS}{blank}[", closing="]")


def read(source: Source) -> Reading[None]:
    yield from source.skip()
    if not (yield from source.take("[")):
        yield from _read_named(source)
        return
    yield from source.skip()
    while (yield from read_called(source)):
        yield from source.skip()
        source.drop()
        if not (yield from source.take(",")):
            if (yield from source.take("]")):
                yield from source.skip()
                source.drop()
            return
        yield from source.skip()


def _read_named(source: Source) -> Reading[None]:
    """`name[ARGS]{…}`, `name{…}`, or `name[CALL_ID]id[ARGS]{…}`."""
    name = yield from source.word()
    if not name:
        return
    if (yield from source.take(ID)):
        yield from source.word()
    yield from source.take(ARGUMENTS)
    yield from source.skip()
    if (yield from source.peek()) == "{":
        source.tell("call", name)
        yield from tell_object(source)
        yield from source.skip()
        source.drop()
