"""JSON Lines: one object a line, in one of the layouts of layouts.py. A .json file: an array of objects, or lines."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hanlin.core.run.errors import HanlinError
from hanlin.core.text.documents import Row
from hanlin.make.collect.reading.encoding import not_text
from hanlin.make.collect.reading.json_array import MAX_VALUE_BYTES, broken_json, excerpt, too_long, values
from hanlin.make.collect.reading.layouts import row_from
from hanlin.make.collect.reading.reader import Reading

SUFFIXES = (".jsonl", ".ndjson", ".json")


def read(path: Path, name: str, reading: Reading, span: Span | None = None) -> Iterator[Row]:
    """Rows of a .jsonl or .json file; of a `span` of its lines alone, where one is given. Raises HanlinError with file
    and line for broken JSON and unknown layouts."""
    if span is None and name.lower().endswith(".json"):
        yield from _read_json(path, name, reading)
        return
    span = span or Span(0, path.stat().st_size, 1)
    with path.open("rb") as lines:
        lines.seek(span.start)
        number = span.first_line
        while lines.tell() < span.end and (line := lines.readline(MAX_VALUE_BYTES)):
            row_id = f"{name}:{number}"
            if number == 1:
                line = line.removeprefix(b"\xef\xbb\xbf")
            if len(line) == MAX_VALUE_BYTES and not line.endswith(b"\n"):
                yield reading.wrong(too_long(path, number), row_id)
                while not line.endswith(b"\n") and (line := lines.readline(MAX_VALUE_BYTES)):
                    pass
            elif line.strip():
                yield _one(line, path, number, row_id, reading)
            number += 1


def _one(line: bytes, path: Path, number: int, row_id: str, reading: Reading) -> Row:
    try:
        return row_from(_parse(line, path, number), row_id, f"{path}, line {number}")
    except HanlinError as error:
        return reading.wrong(error, row_id)


@dataclass(frozen=True)
class Span:
    """Whole lines of a file: bytes start to end, the first of them line number `first_line`."""

    start: int
    end: int
    first_line: int


def spans(path: Path, least_bytes: int) -> list[Span]:
    """The file as spans of whole lines with at least `least_bytes` each."""
    found, start, first, line = [], 0, 1, 1
    with path.open("rb") as file:
        while block := file.read(1 << 22):
            end = file.tell()
            tail = block.rfind(b"\n") + 1
            border = end - len(block) + tail
            if tail and border - start >= least_bytes:
                upto = line + block.count(b"\n")
                found.append(Span(start, border, first))
                start, first = border, upto
            line += block.count(b"\n")
        if file.tell() > start or not found:
            found.append(Span(start, file.tell(), first))
    return found


def _read_json(path: Path, name: str, reading: Reading) -> Iterator[Row]:
    """An array of objects, one object, or JSON Lines under the name .json."""
    if _is_lines(path):
        yield from read(path, name, reading, Span(0, path.stat().st_size, 1))
        return
    number = 0
    try:
        for number, (_, value) in enumerate(values(path), start=1):
            row_id = f"{name}[{number}]"
            try:
                yield row_from(value, row_id, f"{path}, object {number}")
            except HanlinError as error:
                yield reading.wrong(error, row_id)
    except HanlinError as error:
        # What follows broken JSON can't be told from it: the file ends here.
        yield reading.wrong(error, f"{name}[{number + 1}]")


def _is_lines(path: Path) -> bool:
    """Whether the first line is an object of its own, and another line follows."""
    with path.open("rb") as file:
        first = file.readline(MAX_VALUE_BYTES).removeprefix(b"\xef\xbb\xbf")
        try:
            return first.lstrip()[:1] == b"{" and isinstance(json.loads(first), dict) and bool(file.read(1))
        except (ValueError, RecursionError):
            return False


def _parse(data: bytes, path: Path, line: int) -> Any:
    try:
        return json.loads(data.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise not_text(f"{path}, line {line}", data, error, "JSON in UTF-8") from None
    except json.JSONDecodeError as error:
        problem = f"{error.msg} at column {error.colno}: {excerpt(error.doc, error.pos)}"
    except (ValueError, RecursionError) as error:
        problem = str(error)
    raise broken_json(path, line, problem)
