"""Text and Markdown files: one file, one document, or several passages where it is long."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from hanlin.core.run.errors import HanlinError
from hanlin.core.text.documents import Row
from hanlin.make.collect.reading.encoding import decode
from hanlin.make.collect.reading.reader import Reading

SUFFIXES = (".txt", ".text", ".md", ".markdown")


def read(path: Path, name: str, reading: Reading) -> Iterator[Row]:
    """Rows of one file; rejected with line and byte where it is not text."""
    try:
        decoded = decode(path.read_bytes(), name)
    except HanlinError as error:
        yield reading.unreadable(name, error.what.removeprefix(name).lstrip(":, "))
        return
    if decoded.remark:
        reading.note(f"{name}: {decoded.remark}.")
    notes = {"read": decoded.remark} if decoded.broken else {}
    yield from reading.documents(name, decoded.text, notes=notes)
