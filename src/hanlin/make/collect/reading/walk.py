"""What the sources hold, as units of work: each is read by one process, and all units in order are the sources."""

from __future__ import annotations

import importlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from hanlin.core.run.artifact import Artifact
from hanlin.core.run.errors import HanlinError
from hanlin.core.run.source_hub import POINTER, pointed_at
from hanlin.core.run.sources import source_files, stamp_of
from hanlin.core.text.documents import KEPT, Row, read_file, split_files
from hanlin.make.collect.reading import jsonl
from hanlin.make.collect.reading.reader import Reading, reader_of, suffixes

COLLECTIONS = ("court", "poems", "dictionary", "interface")
"""Modules of this folder that know a whole folder by its files' names. They have

def recognises(files: Mapping[str, Path]) -> set[str]      the files it reads; all others of the folder are left out
def read(files, reading) -> Iterator[tuple[str, Row]]      (file name, row)
FILES_STAND_ALONE = True                                   optional: its files may be read apart, in several processes
"""

MOST_NAMES = 20
"""Files that a collection leaves out are named up to this many."""

UNIT_BYTES = 32 * 2**20
"""Small files are read together up to this size; files that can be cut are cut into spans of it."""

SPLITTABLE = (".jsonl", ".ndjson", ".xml", ".xml.bz2")
"""Files whose readers also have spans(path, least_bytes), and read a span alone. Another big file is one unit."""

_FREQUENT = (".txt", ".md", ".pdf", ".html", ".docx", ".csv", ".jsonl", ".parquet", ".zip")
"""What a message names; the README has all."""

Stamp = tuple[int, int]


@dataclass(frozen=True)
class Unit:
    """Files of one source that one process reads.

    reader: "" for files by their suffix, else a collection's name, or "corpus"
    span: the part of the only file, None for all of it
    stamps: size and time of change of each file, as planned
    """

    number: int
    source: int
    reader: str
    files: tuple[tuple[str, Path], ...]
    span: jsonl.Span | None = None
    stamps: tuple[Stamp, ...] = ()

    @property
    def name(self) -> str:
        return f"u{self.number:06d}"


@dataclass
class Source:
    """One source, for the report. skipped: files that no reader knows, by their suffix."""

    address: str
    is_folder: bool
    licence: str = ""
    files: int = 0
    rows: int = 0
    skipped: dict[str, int] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    num_notes: int = 0


def plan(artifacts: list[Artifact]) -> tuple[list[Source], list[Unit]]:
    """The sources and their units, in order. Raises HanlinError for a source in which nothing can be read."""
    sources: list[Source] = []
    units: list[Unit] = []
    for number, artifact in enumerate(artifacts):
        if artifact.stamp and artifact.stamp != stamp_of(artifact.path):
            raise _changed(
                max(source_files(artifact.path), key=lambda path: path.stat().st_mtime_ns, default=artifact.path)
            )
        source = Source(_address(artifact), artifact.path.is_dir(), artifact.licence)
        sources.append(source)
        for reader, files, span in _parts(artifact, source):
            stamps = tuple(map(_stamp, files.values()))
            units.append(Unit(len(units), number, reader, tuple(files.items()), span, stamps))
    return sources, units


def read_unit(unit: Unit, source: Source, reading: Reading) -> Iterator[Row]:
    """The rows of a unit, each with its source, and an id that is its own among all sources'. Raises HanlinError where
    a file is another one than was planned, at the latest when all of it is read."""
    if source.address.startswith("git:"):
        # A repository's .json files are seldom rows: those that aren't are rejected one by one.
        reading.config = reading.config.model_copy(update={"bad": "skip"})
    for file_name, row in _rows(unit, reading):
        row_id = row.id if unit.source == 0 else f"{unit.source}/{row.id}"
        yield row.changed(id=row_id, source=row.source or _source_name(source, file_name))
    for (_, path), stamp in zip(unit.files, unit.stamps):
        if _stamp(path) != stamp:
            raise _changed(path)


def _stamp(path: Path) -> Stamp:
    """(0, 0) for a file that is gone."""
    try:
        facts = path.stat()
    except FileNotFoundError:
        return 0, 0
    return facts.st_size, facts.st_mtime_ns


Part = tuple[str, dict[str, Path], jsonl.Span | None]


def _parts(artifact: Artifact, source: Source) -> Iterator[Part]:
    if artifact.kind == "corpus":
        for split in KEPT:
            for path in split_files(artifact, split):
                source.files += 1
                yield "corpus", {path.name: path}, None
        return
    root = artifact.path if source.is_folder else artifact.path.parent
    files = {path.relative_to(root).as_posix(): path for path in source_files(artifact.path)}
    for collection in COLLECTIONS:
        if known := _collection(collection).recognises(files):
            source.files = len(known)
            source.skipped = _left_out([name for name in files if name not in known])
            here = {name: path for name, path in files.items() if name in known}
            apart = getattr(_collection(collection), "FILES_STAND_ALONE", False)
            for _, group, _ in _by_size(here) if apart else [("", here, None)]:
                yield collection, group, None
            return
    readable = {name: path for name, path in files.items() if reader_of(name)}
    source.files = len(readable)
    unknown = (Path(name).suffix.lower() or Path(name).name for name in files if name not in readable)
    source.skipped = dict(Counter(unknown).most_common()) | (_links(root) if source.is_folder else {})
    if not readable:
        raise _nothing_readable(artifact.path, source)
    yield from _by_size(readable)


def _links(folder: Path) -> dict[str, int]:
    """Links that lead to no file. Those to folders are not followed: they may lead round in a circle."""
    links: Counter[str] = Counter()
    for path in folder.rglob("*"):
        if path.is_symlink() and not path.is_file() and not any(p[0] == "." for p in path.relative_to(folder).parts):
            links["link to a folder" if path.exists() else "broken link"] += 1
    return dict(links)


def _left_out(names: Sequence[str]) -> dict[str, int]:
    """A collection's folder holds other files that are left out on purpose: those go by their names where they are
    few."""
    few = len(names) <= MOST_NAMES
    return dict(Counter(name if few else Path(name).suffix.lower() or Path(name).name for name in names).most_common())


def _by_size(files: Mapping[str, Path]) -> Iterator[Part]:
    """Neighbours together up to UNIT_BYTES; a large file in spans where it can be cut."""
    group: dict[str, Path] = {}
    size = 0
    for name, path in files.items():
        bytes_here = pointed_at(path)["bytes"] if name.endswith(POINTER) else path.stat().st_size
        if group and size + bytes_here > UNIT_BYTES:
            yield "", group, None
            group, size = {}, 0
        if bytes_here > 2 * UNIT_BYTES and name.lower().endswith(SPLITTABLE):
            for span in _reader(name).spans(path, UNIT_BYTES):
                yield "", {name: path}, span
            continue
        group[name] = path
        size += bytes_here
    if group:
        yield "", group, None


def _rows(unit: Unit, reading: Reading) -> Iterator[tuple[str, Row]]:
    if unit.reader == "corpus":
        for name, path in unit.files:
            for row in read_file(path):
                yield name, row
    elif unit.reader:
        yield from _collection(unit.reader).read(dict(unit.files), reading)
    elif unit.span is not None:
        ((name, path),) = unit.files
        for row in _reader(name).read(path, name, reading, unit.span):
            yield name, row
    else:
        for name, path in unit.files:
            for row in reading.file(path, name):
                yield name, row


def _reader(name: str):
    reader = reader_of(name)
    assert reader is not None, name
    return reader


def _collection(name: str):
    return importlib.import_module(f"{__package__}.{name}")


def _address(artifact: Artifact) -> str:
    """The address as a person writes it: without the pin, which the manifest keeps."""
    return artifact.address.partition("#sha256=")[0] or str(artifact.path)


def _source_name(source: Source, file_name: str) -> str:
    return f"{source.address.rstrip('/')}/{file_name.removesuffix(POINTER)}" if source.is_folder else source.address


def _nothing_readable(path: Path, source: Source) -> HanlinError:
    found = ", ".join(f"{count} × {suffix}" for suffix, count in list(source.skipped.items())[:8]) or "no files"
    return HanlinError(
        f"{path} holds nothing that can be read ({found}).",
        f"files ending in {', '.join(_FREQUENT)} or one of {len(suffixes()) - len(_FREQUENT)} more",
        "convert the files to one of these, or give another folder",
        "src/hanlin/make/collect/README.md",
    )


def _changed(path: Path) -> HanlinError:
    return HanlinError(
        f"{path} has changed since its hash was taken.",
        "sources that stay as they are while they are read: the hash in the manifest is of what was read",
        "run the same command again, when nothing writes there any more",
        "docs/sources.md#pins",
    )
