"""Hermes and Qwen: `<tool_call>{"name": …, "arguments": {…}}</tool_call>`, one after another.

https://github.com/NousResearch/Hermes-Function-Calling, https://qwen.readthedocs.io/en/latest/framework/function_call.html
"""

from __future__ import annotations

from hanlin.core.text.calls.called import read_called
from hanlin.core.text.calls.reader import Form
from hanlin.core.text.calls.source import Reading, Source

OPEN, CLOSE = "<tool_call>", "</tool_call>"
MARKS = (OPEN,)
BARE = ""
SPECIAL = (OPEN, CLOSE)


def is_of(spelled: str) -> bool:
    return OPEN in spelled


def form(spelled: str) -> Form:
    return Form(f'{OPEN}\n{{"name": "', '", "arguments": ', f"}}\n{CLOSE}", separator="\n")


def read(source: Source) -> Reading[None]:
    yield from source.skip()
    if (yield from read_called(source)):
        yield from source.skip()
        yield from source.take(CLOSE)
        yield from source.skip()
        source.drop()
