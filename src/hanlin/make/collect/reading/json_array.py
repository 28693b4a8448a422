"""A .json file's values one by one: the elements of its array, whatever its size, or the one value that it is.

The standard library parses whole texts alone, so a window of text slides over the file: a value that its end cuts is
tried again with twice as much. Memory is that of the largest value.
"""

from __future__ import annotations

import codecs
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hanlin.core.run.errors import HanlinError
from hanlin.make.collect.reading.encoding import not_text

MAX_VALUE_BYTES = 64 * 2**20
"""Of one line or one element. A conversation has some thousand; what is larger is something else under this name."""

_BLOCK_BYTES = 1 << 20
_SPACE = " \t\r\n"


def values(path: Path) -> Iterator[tuple[int, Any]]:
    """(line it begins in, value) of each element of the array, or of the only value. Raises HanlinError with the line
    where the file isn't JSON, and what came before it stays."""
    with path.open("rb") as file:
        window = _Window(file, path)
        if window.next_sign() != "[":
            yield window.line, window.value()
        else:
            window.skip()
            while window.next_sign() != "]":
                yield window.line, window.value()
                if window.next_sign() == ",":
                    window.skip()
                elif window.next_sign() != "]":
                    raise broken_json(path, window.line, f"expected , or ] but found {window.next_sign()!r}")
            window.skip()
        if window.next_sign():
            raise broken_json(path, window.line, "more after the end of the array or object")


class _Window:
    """The part of the file that is looked at. line: of the next character."""

    def __init__(self, file: Any, path: Path):
        self._file, self._path = file, path
        self._decoder = codecs.getincrementaldecoder("utf-8-sig")()
        self._parse = json.JSONDecoder().raw_decode
        self._text, self._at, self._is_end = "", 0, False
        self.line = 1

    def next_sign(self) -> str:
        """The next character that is no blank, "" at the end of the file."""
        while True:
            while self._at < len(self._text) and self._text[self._at] in _SPACE:
                self.line += self._text[self._at] == "\n"
                self._at += 1
            if self._at < len(self._text):
                return self._text[self._at]
            if self._is_end:
                return ""
            self._more(_BLOCK_BYTES)

    def skip(self) -> None:
        self._at += 1

    def value(self) -> Any:
        while True:
            here = len(self._text) - self._at
            try:
                value, end = self._parse(self._text, self._at)
            except json.JSONDecodeError as error:
                is_cut = error.msg.startswith("Unterminated") or error.pos > len(self._text) - 20
                if self._is_end or not is_cut:
                    line = self.line + self._text.count("\n", self._at, error.pos)
                    raise broken_json(self._path, line, f"{error.msg}: {excerpt(self._text, error.pos)}") from None
            except (ValueError, RecursionError) as error:
                raise broken_json(self._path, self.line, str(error)) from None
            else:
                if end < len(self._text) or self._is_end:
                    self.line += self._text.count("\n", self._at, end)
                    self._at = end
                    return value
            if here > MAX_VALUE_BYTES:
                raise too_long(self._path, self.line)
            self._more(max(here, _BLOCK_BYTES))

    def _more(self, num_bytes: int) -> None:
        data = self._file.read(num_bytes)
        try:
            new = self._decoder.decode(data, final=not data)
        except UnicodeDecodeError as error:
            line = self.line + self._text.count("\n", self._at) + error.object.count(b"\n", 0, error.start)
            raise not_text(f"{self._path}, line {line}", error.object, error, "JSON in UTF-8") from None
        self._is_end = not data
        self._text, self._at = self._text[self._at :] + new, 0


def broken_json(path: Path, line: int, problem: str) -> HanlinError:
    return HanlinError(
        f"{path}, line {line}: broken JSON ({problem}).",
        "one complete JSON object a line (.jsonl), or an array of objects (.json)",
        f"correct or remove it:  sed -n {line}p {path}",
        "src/hanlin/make/collect/README.md",
    )


def too_long(path: Path, line: int) -> HanlinError:
    return HanlinError(
        f"{path}, line {line}: one row of over {MAX_VALUE_BYTES / 2**20:.0f} MiB.",
        "one object a line (.jsonl), or an array of objects (.json)",
        "cut it into rows, or leave it out with bad=skip",
        "src/hanlin/make/collect/README.md",
    )


def excerpt(text: str, place: int) -> str:
    return repr(text[max(0, place - 20) : place + 20])
