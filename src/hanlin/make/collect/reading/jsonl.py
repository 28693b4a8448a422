"""JSON Lines: one object a line, in one of the layouts of layouts.py. A .json file: an array of objects, or lines."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hanlin.core.run.errors import HanlinError
from hanlin.core.text.documents import Row
from hanlin.make.collect.reading.layouts import row_from
from hanlin.make.collect.reading.encoding import not_text
from hanlin.make.collect.reading.reader import Reading

SUFFIXES = (".jsonl", ".ndjson", ".json")

MAX_JSON_BYTES = 2**30
"""A .json file is read as a whole; a larger one belongs into .jsonl, which is read line by line."""


def read(path: Path, name: str, reading: Reading, span: Span | None = None) -> Iterator[Row]:
    """Rows of a .jsonl or .json file; of a `span` of its lines alone, where one is given. Raises HanlinError with file
    and line for broken JSON and unknown layouts."""
    if name.lower().endswith(".json"):
        yield from _read_json(path, name, reading)
        return
    span = span or Span(0, path.stat().st_size, 1)
    with path.open("rb") as lines:
        lines.seek(span.start)
        number = span.first_line
        while lines.tell() < span.end and (line := lines.readline()):
            if number == 1:
                line = line.removeprefix(b"\xef\xbb\xbf")
            if line.strip():
                yield _one(line, path, number, f"{name}:{number}", reading)
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
    """An array of objects, or JSON Lines under the name .json."""
    if path.stat().st_size > MAX_JSON_BYTES:
        raise HanlinError(
            f"{path} is a JSON file of {path.stat().st_size / 2**30:.1f} GiB.",
            f"at most {MAX_JSON_BYTES / 2**30:.0f} GiB, or JSON Lines of any size",
            "write one object a line and name it .jsonl",
            "src/hanlin/make/collect/README.md",
        )
    data = path.read_bytes().removeprefix(b"\xef\xbb\xbf")
    try:
        values = _parse(data, path, 1)
    except HanlinError as error:
        lines = [(number, line) for number, line in enumerate(data.splitlines(), start=1) if line.strip()]
        if not lines or not _is_object(lines[0][1]) or len(lines) == 1:
            raise error from None
        for number, line in lines:
            yield _one(line, path, number, f"{name}:{number}", reading)
        return
    for number, value in enumerate(values if isinstance(values, list) else [values], start=1):
        row_id = f"{name}[{number}]"
        try:
            yield row_from(value, row_id, f"{path}, object {number}")
        except HanlinError as error:
            yield reading.wrong(error, row_id)


def _is_object(line: bytes) -> bool:
    try:
        return isinstance(json.loads(line), dict)
    except (ValueError, RecursionError):
        return False


def _parse(data: bytes, path: Path, line: int) -> Any:
    try:
        return json.loads(data.decode("utf-8"))
    except UnicodeDecodeError as error:
        line += data.count(b"\n", 0, error.start)
        raise not_text(f"{path}, line {line}", data, error, "JSON in UTF-8") from None
    except json.JSONDecodeError as error:
        line += error.lineno - 1
        problem = f"{error.msg} at column {error.colno}: {_excerpt(error.doc, error.pos)}"
    except (ValueError, RecursionError) as error:
        problem = str(error)
    raise HanlinError(
        f"{path}, line {line}: broken JSON ({problem}).",
        "one complete JSON object a line (.jsonl), or an array of objects (.json)",
        f"correct or remove it:  sed -n {line}p {path}",
        "src/hanlin/make/collect/README.md",
    )


def _excerpt(text: str, place: int) -> str:
    return repr(text[max(0, place - 20) : place + 20])
