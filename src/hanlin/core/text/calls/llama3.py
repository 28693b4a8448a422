"""Llama 3.1 and later: `{"name": …, "parameters": {…}}` alone or behind `<|python_tag|>`, several separated by `;`.

https://www.llama.com/docs/model-cards-and-prompt-formats/llama3_1/#json-based-tool-calling
"""

from __future__ import annotations

from hanlin.core.text.calls.called import read_called
from hanlin.core.text.calls.reader import Form
from hanlin.core.text.calls.source import Reading, Source

PYTHON_TAG = "<|python_tag|>"
MARKS = (PYTHON_TAG,)
BARE = "{"
SPECIAL = (PYTHON_TAG,)


def is_of(spelled: str) -> bool:
    return "<|start_header_id|>" in spelled or PYTHON_TAG in spelled


def form(spelled: str) -> Form:
    return Form('{"name": "', '", "parameters": ', "}", separator="; ")


def read(source: Source) -> Reading[None]:
    yield from source.skip()
    while (yield from read_called(source, needs_arguments=True)):
        yield from source.skip()
        source.drop()
        if not (yield from source.take(";")):
            return
        yield from source.skip()
        if (yield from source.take(PYTHON_TAG)):
            yield from source.skip()
