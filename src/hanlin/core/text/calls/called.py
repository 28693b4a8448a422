"""One call as most families write it: a JSON object with a name and arguments."""

from __future__ import annotations

import json

from hanlin.core.text.calls.source import Reading, Source

ARGUMENTS = ("arguments", "parameters")
BESIDE = ("id", "type", "index")
"""What may stand beside name and arguments, and says nothing to a client. Any other name: it is no call."""


def read_called(source: Source, needs_arguments: bool = False) -> Reading[bool]:
    """Read `{"name": …, "arguments": {…}}`; the name may come after the arguments, which are then told in one piece.

    True: a call was told, if only its beginning. False: it is none, nothing was told, and what was looked at is held.
    needs_arguments: a lone name is no call.
    """
    if not (yield from source.take("{")):
        return False
    name, early, told = "", "", False
    while key := (yield from _key(source)):
        if key == "name" and not name:
            name = (yield from read_string(source)) or ""
            if not name:
                return False
            if early:
                _tell_call(source, name, early)
                told = True
        elif key in ARGUMENTS and not told and not early:
            if name and (yield from source.peek()) == "{":
                source.tell("call", name)
                told = True
                yield from tell_object(source)
            elif not (early := (yield from _whole_arguments(source))):
                return False
            elif name:
                _tell_call(source, name, early)
                told = True
        elif key not in BESIDE or not (yield from _skip_scalar(source)):
            return told
        yield from source.skip()
        if not (yield from source.take(",")):
            break
    ended = yield from source.take("}")
    if ended and name and not told and not needs_arguments:
        _tell_call(source, name, "{}")
        return True
    return told


def tell_object(source: Source) -> Reading[None]:
    """Tell a JSON object as arguments while it is being written, up to its closing brace or the end of the reply."""
    source.drop()
    end = _End()
    while (yield from source.peek()):
        length = end.find(source.text)
        source.at = len(source.text) if length is None else length
        source.tell("arguments", source.text[: source.at])
        source.drop()
        if length is not None:
            return


def read_string(source: Source) -> Reading[str | None]:
    """A JSON string; None for what is none, or can't be written as UTF-8."""
    start = source.at
    if not (yield from source.take('"')):
        return None
    while (character := (yield from source.peek())) not in ("", '"', "\n"):
        source.at += 1
        if character == "\\" and (yield from source.peek()):
            source.at += 1
    if not (yield from source.take('"')):
        return None
    try:
        text: str = json.loads(source.text[start : source.at])
        text.encode()
    except ValueError:
        return None
    return text


class _End:
    """Where an object ends, found in pieces of its text."""

    def __init__(self) -> None:
        self._depth, self._in_string, self._escaped = 0, False, False

    def find(self, piece: str) -> int | None:
        """Length up to the closing brace; None while it has not come."""
        for place, character in enumerate(piece):
            if self._in_string:
                self._in_string = self._escaped or character != '"'
                self._escaped = character == "\\" and not self._escaped
            elif character == '"':
                self._in_string = True
            elif character in "{[":
                self._depth += 1
            elif character in "}]":
                self._depth -= 1
                if not self._depth:
                    return place + 1
        return None


def _tell_call(source: Source, name: str, arguments: str) -> None:
    source.tell("call", name)
    source.tell("arguments", arguments)


def _key(source: Source) -> Reading[str]:
    """The next member's name; "" where none comes."""
    yield from source.skip()
    key = yield from read_string(source)
    yield from source.skip()
    if key is None or not (yield from source.take(":")):
        return ""
    yield from source.skip()
    return key


def _whole_arguments(source: Source) -> Reading[str]:
    """Arguments that can't be told yet, or are a text that holds JSON, or null; "" where they are neither."""
    first = yield from source.peek()
    if first == '"':
        text = ((yield from read_string(source)) or "").strip()
        return text if text.startswith("{") else ""
    if first == "n":
        return "{}" if (yield from source.take("null")) else ""
    start, end = source.at, _End()
    while first == "{" and (yield from source.peek()):
        length = end.find(source.text[source.at :])
        source.at = len(source.text) if length is None else source.at + length
        if length is not None:
            return source.text[start : source.at]
    return ""


def _skip_scalar(source: Source) -> Reading[bool]:
    """A string, number, true, false or null."""
    if (yield from source.peek()) == '"':
        return (yield from read_string(source)) is not None
    start = source.at
    while (character := (yield from source.peek())) and (character.isalnum() or character in "+-."):
        source.at += 1
    return source.at > start
