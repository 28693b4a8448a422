"""Text and Markdown files: one file, one document, or several passages where it is long."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from hanlin.core.run.errors import HanlinError
from hanlin.core.text.documents import Row
from hanlin.make.collect.reading.encoding import decode, encoding_of, lines_of, remark_on
from hanlin.make.collect.reading.passages import cut
from hanlin.make.collect.reading.reader import Reading

SUFFIXES = (".txt", ".text", ".md", ".markdown")

WHOLE_BYTES = 32 * 2**20
"""Larger files are read in blocks of lines, so that memory stays what it is for small ones."""

_BLOCK_CHARS = 4_000_000


def read(path: Path, name: str, reading: Reading) -> Iterator[Row]:
    """Rows of one file; rejected with line and byte where it is not text."""
    try:
        if path.stat().st_size > WHOLE_BYTES:
            yield from _large(path, name, reading)
            return
        decoded = decode(path.read_bytes(), name)
    except HanlinError as error:
        yield reading.unreadable(name, error.what.removeprefix(name).lstrip(":, "))
        return
    if decoded.remark:
        reading.note(f"{name}: {decoded.remark}.")
    notes = {"read": decoded.remark} if decoded.broken else {}
    yield from reading.documents(name, decoded.text, notes=notes)


def _large(path: Path, name: str, reading: Reading) -> Iterator[Row]:
    """The same passages but where blocks meet. Lines that are not text are left out, each with a note."""
    encoding = encoding_of(path, name)
    if said := remark_on(encoding):
        reading.note(f"{name}: {said}.")
    lines = lines_of(path, name, encoding, lambda error, _: reading.note(f"left out {error.what}"))
    number = 0
    for block in _blocks(lines):
        for passage in cut(block.replace("\r\n", "\n"), reading.config.passage_chars):
            number += 1
            yield Row(id=f"{name}#{number}", text=passage, type="document")


def _blocks(lines: Iterable[str]) -> Iterator[str]:
    """Some million characters each; they end before a blank line where one comes soon."""
    block: list[str] = []
    size = 0
    for line in lines:
        if size > 2 * _BLOCK_CHARS or (size > _BLOCK_CHARS and not line.strip()):
            yield "".join(block)
            block, size = [], 0
        block.append(line)
        size += len(line)
    if block:
        yield "".join(block)
