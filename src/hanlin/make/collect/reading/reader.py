"""What every reader is handed, and which reader knows which file.

A reader is a module of this folder with

    SUFFIXES: tuple[str, ...]                                             the names it knows, in small letters
    def read(path: Path, name: str, reading: Reading) -> Iterator[Row]    the rows of one file

`path` is where the bytes lie, `name` how people know the file ("reports/2024.zip!a.pdf"): it goes into ids and
messages. A reader keeps no more than one document in memory where its format allows, and never raises anything but
HanlinError: what can't be read becomes a rejected row (`unreadable`) or, in files of rows, an error with its place
(`wrong`).
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from hanlin.core.run.errors import HanlinError
from hanlin.core.text.documents import Row
from hanlin.make.collect.reading.passages import cut

if TYPE_CHECKING:
    from hanlin.make.collect.config import Collect
    from hanlin.make.collect.reading.unpacking import Allowance

READERS = (
    "plain",
    "jsonl",
    "tables",
    "pdf",
    "html",
    "office",
    "epub",
    "subtitles",
    "compressed",
    "archives",
    "warc",
    "wikipedia",
    "code",
    "hub",
)
"""The modules of this folder that read files by their suffix."""

MAX_NOTES = 20


@dataclass
class Reading:
    """One file's reading: the options, and an ear for what people should know.

    scratch:   where files inside others are unpacked; None: the system's folder for temporary files
    allowance: what the outermost of the archives being read may still unpack to
    depth:     how many archives the file being read lies in
    """

    config: Collect
    notes: list[str] = field(default_factory=list)
    num_notes: int = 0
    scratch: Path | None = None
    allowance: Allowance | None = None
    depth: int = 0

    def note(self, text: str) -> None:
        """Say something about a file that is read all the same (its encoding, a page without text)."""
        self.num_notes += 1
        if len(self.notes) < MAX_NOTES:
            self.notes.append(text)

    def documents(self, name: str, text: str, type: str = "document", **facts: Any) -> Iterator[Row]:
        """The text as one row, or as several where it is longer than `passage_chars`; one group all together."""
        passages = cut(text.replace("\r\n", "\n"), self.config.passage_chars) or [""]
        for number, passage in enumerate(passages, start=1):
            yield Row(id=f"{name}#{number}" if len(passages) > 1 else name, text=passage, type=type, **facts)

    def unreadable(self, name: str, why: str) -> Row:
        """A document that can't be read: it goes to rejected.parquet with the reason, the others are read on."""
        return Row(id=name, type="document", reason=f"unreadable: {why}")

    def wrong(self, error: HanlinError, row_id: str) -> Row:
        """A row of a file of rows that breaks its format. Raises `error`, which names file, line and the fix; with
        bad=skip the row is rejected with the same words."""
        if self.config.bad == "stop":
            raise error
        return Row(id=row_id, type="document", reason=f"unreadable: {error.what}")

    def file(self, path: Path, name: str) -> Iterator[Row]:
        """Rows of a file, by the reader that knows its name."""
        reader = reader_of(name)
        assert reader is not None, name
        yield from reader.read(path, name, self)

    def inner(self, path: Path, name: str, place: str) -> Iterator[Row]:
        """Rows of a file inside another one. `path` is a copy of it; messages call it by its `place`."""

        def said(text: str) -> str:
            return text.replace(str(path), place)

        heard = len(self.notes)
        try:
            for row in self.file(path, name):
                yield replace(row, reason=said(row.reason)) if row.reason else row
        except HanlinError as error:
            raise HanlinError(said(error.what), said(error.expected), said(error.do), error.more) from None
        finally:
            self.notes[heard:] = map(said, self.notes[heard:])


def reader_of(name: str) -> ModuleType | None:
    """The reader for a file's name, None where no reader knows it. The longest suffix decides (.jsonl.gz, .gz)."""
    lower = name.lower()
    found = max((suffix for suffix in suffixes() if lower.endswith(suffix)), key=len, default=None)
    return None if found is None else importlib.import_module(f"{__package__}.{suffixes()[found]}")


def suffixes() -> dict[str, str]:
    """{suffix: name of the module that reads it}."""
    if not _SUFFIXES:
        for module in READERS:
            for suffix in importlib.import_module(f"{__package__}.{module}").SUFFIXES:
                assert _SUFFIXES.setdefault(suffix, module) == module, suffix
    return _SUFFIXES


_SUFFIXES: dict[str, str] = {}
