"""Tables: .csv, .tsv and other people's Parquet files, row by row.

A table whose columns are those of a data set (layouts.py: text, messages, instruction and output, prompt and chosen …)
gives rows of it. Of any other table each row is a document of "column: value" lines.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from hanlin.core.run.errors import HanlinError
from hanlin.core.text.documents import SCHEMA as CORPUS_SCHEMA
from hanlin.core.text.documents import Row, read_file
from hanlin.make.collect.reading.encoding import encoding_of, lines_of, remark_on
from hanlin.make.collect.reading.layouts import SCHEMAS, row_from
from hanlin.make.collect.reading.parsers import parsing
from hanlin.make.collect.reading.reader import Reading
from hanlin.make.collect.reading.unpacking import Broken

SUFFIXES = (".csv", ".tsv", ".parquet")

_CORPUS = ("id", "text", "messages", "source", "reason")
"""Columns by which a corpus of hanlin's own is known."""

_DELIMITERS = ",\t;|"
_SNIFFED_CHARS = 65_536
MAX_CELL_CHARS = 16 * 2**20
_BATCH_ROWS = 256
_NEEDED = {key for keys in SCHEMAS.values() for key in keys}


def read(path: Path, name: str, reading: Reading) -> Iterator[Row]:
    if name.lower().endswith(".parquet"):
        yield from _parquet(path, name, reading)
        return
    try:
        yield from _separated(path, name, reading)
    except HanlinError as error:
        yield reading.wrong(error, name)


def _separated(path: Path, name: str, reading: Reading) -> Iterator[Row]:
    csv.field_size_limit(MAX_CELL_CHARS)
    broken: list[Row] = []
    encoding = encoding_of(path, name)
    if said := remark_on(encoding):
        reading.note(f"{name}: {said}.")
    text = lines_of(path, name, encoding, lambda error, number: broken.append(reading.wrong(error, f"{name}:{number}")))
    lines = _Lines(text)
    reader = csv.reader(lines, delimiter="\t" if name.lower().endswith(".tsv") else lines.delimiter(), strict=True)
    table = _records(reader, name, path)
    columns = next(table, (1, []))[1]
    if not any(columns):
        yield reading.unreadable(name, "an empty table")
    else:
        for row in rows_of_table(columns, table, name, name, reading):
            yield from broken
            broken.clear()
            yield row
    yield from broken


def layout_columns(columns: Sequence[str]) -> bool:
    """Whether a row with these columns has one of the layouts of layouts.py."""
    known = {column.strip() for column in columns}
    return any(known.issuperset(keys) for keys in SCHEMAS.values())


def rows_of_table(
    columns: Sequence[str],
    records: Iterable[tuple[int, Sequence[str]]],
    name: str,
    place: str,
    reading: Reading,
    word: str = "line",
) -> Iterator[Row]:
    """Rows of records that come with their line numbers. A record with more or fewer cells than columns is wrong."""
    is_layout = layout_columns(columns)
    for number, cells in records:
        row_id = f"{name}:{number}"
        try:
            if len(cells) != len(columns):
                raise _uneven(f"{place}, {word} {number}", len(cells), len(columns))
            record = {column.strip(): cell for column, cell in zip(columns, cells)}
            if is_layout:
                yield row_from(_present(record), row_id, f"{place}, {word} {number}")
            else:
                yield Row(id=row_id, text=_as_lines(record), type="table", group=name)
        except HanlinError as error:
            yield reading.wrong(error, row_id)


class _Lines:
    """Lines to come, of which the first were looked at."""

    def __init__(self, lines: Iterator[str]):
        self._lines = lines
        self._head: list[str] = []
        size = 0
        for line in lines:
            self._head.append(line)
            size += len(line)
            if size > _SNIFFED_CHARS:
                break
        self._next = 0

    def delimiter(self) -> str:
        """The one that cuts the first lines into equally many cells; the comma where none does."""
        try:
            return csv.Sniffer().sniff("".join(self._head[:50]), _DELIMITERS).delimiter
        except csv.Error:
            counts = {delimiter: self._head[0].count(delimiter) for delimiter in _DELIMITERS} if self._head else {}
            best = max(counts, key=counts.__getitem__, default=",")
            return best if counts.get(best) else ","

    def __iter__(self) -> Iterator[str]:
        yield from self._head
        self._head = []
        yield from self._lines


def _records(reader: Any, name: str, path: Path) -> Iterator[tuple[int, list[str]]]:
    """(line number, cells) of every record that isn't empty. Raises HanlinError where quotes don't match."""
    while True:
        number = reader.line_num + 1
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise HanlinError(
                f"{name}, line {number}: broken CSV ({error}).",
                "RFC 4180: cells with commas, quotes or line ends stand in double quotes, quotes in them are doubled",
                f"look at it:  sed -n {number}p {path}",
                "src/hanlin/make/collect/README.md",
            ) from None
        if any(cell.strip() for cell in cells):
            yield number, cells


def _parquet(path: Path, name: str, reading: Reading) -> Iterator[Row]:
    import pyarrow.parquet as pq

    try:
        with parsing():
            file = pq.ParquetFile(path)
            columns = file.schema_arrow.names
        with file:
            if set(_CORPUS) <= set(columns) <= set(CORPUS_SCHEMA.names):
                yield from read_file(path)
                return
            yield from _parquet_rows(file, columns, name, reading)
    except Broken as error:
        yield reading.unreadable(name, str(error))


def _parquet_rows(file: Any, columns: Sequence[str], name: str, reading: Reading) -> Iterator[Row]:
    is_layout = layout_columns(columns)
    number = 0
    with parsing():
        batches = file.iter_batches(batch_size=_BATCH_ROWS)
    while True:
        with parsing():
            batch = next(batches, None)
            records = [] if batch is None else batch.to_pylist()
        if batch is None:
            return
        for record in records:
            number += 1
            row_id, place = f"{name}:{number}", f"{name}, row {number}"
            try:
                if is_layout:
                    yield row_from(_present(record), row_id, place)
                else:
                    yield Row(id=row_id, text=_as_lines(record), type="table", group=name)
            except HanlinError as error:
                yield reading.wrong(error, row_id)


def _present(record: dict[str, Any]) -> dict[str, Any]:
    """The record without its empty cells, but for those that its layout needs: an output may be empty."""
    return {column: value for column, value in record.items() if value not in (None, "") or column in _NEEDED}


def _as_lines(record: dict[str, Any]) -> str:
    """Text cells as they are, others as JSON writes them; bytes (pictures) are left out."""
    lines = []
    for column, value in record.items():
        if value is None or value == "" or isinstance(value, bytes):
            continue
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
        lines.append(f"{column}: {text}" if column else text)
    return "\n".join(lines)


def _uneven(place: str, cells: int, columns: int) -> HanlinError:
    return HanlinError(
        f"{place}: {cells} cells, but the table has {columns} columns.",
        "as many cells in every row; cells with commas in double quotes",
        "correct the row, or leave such rows out with bad=skip",
        "src/hanlin/make/collect/README.md",
    )
