"""The rows of a corpus, and the Parquet files they live in.

    corpus/  train.parquet  heldout.parquet  rejected.parquet  report.json  report.md

A split may be sharded (`train-00000.parquet`, …); readers here hide it. Every file has the same columns, so a row moves
between splits unchanged, and a rejected row keeps the reason why.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, fields, make_dataclass
from operator import attrgetter
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from hanlin.core.run.artifact import Artifact
from hanlin.core.run.errors import HanlinError

Split = Literal["train", "heldout", "rejected"]
Kind = Literal["text", "chat", "preference"]

KEPT: tuple[Split, ...] = ("train", "heldout")
SPLITS: tuple[Split, ...] = (*KEPT, "rejected")

_MESSAGES = pa.list_(pa.struct([("role", pa.string()), ("content", pa.string()), ("more", pa.string())]))

SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("text", pa.string()),
        ("messages", _MESSAGES),
        ("source", pa.string()),
        ("year", pa.int32()),
        ("type", pa.string()),
        ("group", pa.string()),
        ("script", pa.string()),
        ("reason", pa.string()),
        ("tools", pa.string()),
        ("chosen", _MESSAGES),
        ("rejected", _MESSAGES),
        ("language", pa.string()),
        ("notes", pa.string()),
    ]
)
"""messages.more, tools and notes are JSON, empty where there is nothing to say."""

_LATER = ("tools", "chosen", "rejected", "language", "notes")
"""Columns that older corpora lack; their messages lack `more`."""

_CONVERSATIONS = ("messages", "chosen", "rejected")
_JSON = ("tools", "notes")

_BATCH_ROWS = 1000
_GROUP_ROWS = 4000
_BATCH_CHARS = 4_000_000


@dataclass(frozen=True, slots=True)
class Row:
    """One document, one conversation, or one preference: a conversation with a better and a worse reply to it.

    id:       names the row within its corpus, with the file and the line or place it came from
    text:     the document ("" for a conversation)
    messages: the conversation, each {role, content}, with tool_calls, tool_call_id, reasoning_content where it has them
              (() for a document); of a preference, what comes before the replies
    tools:    the JSON schemas of the tools the assistant may call in it
    year:     of the Common Era, None if unknown
    group:    rows of one group always fall into the same split
    reason:   why the row was rejected, as "reason" or "reason: detail"; "" if it was kept
    chosen:   the better reply's messages; alone, with no `rejected`, a reply that was liked (KTO)
    rejected: the worse reply's messages; alone, a reply that was disliked
    language: BCP 47 (zh-TW, zh-CN, yue, nan, en, ja, …), "" where nobody has looked
    notes:    what the steps of collect found out, by the step's name; a value is a number, a text, or counts by name
    """

    id: str
    text: str = ""
    messages: tuple[dict[str, Any], ...] = ()
    source: str = ""
    year: int | None = None
    type: str = ""
    group: str = ""
    script: str = ""
    reason: str = ""
    tools: tuple[dict[str, Any], ...] = ()
    chosen: tuple[dict[str, Any], ...] = ()
    rejected: tuple[dict[str, Any], ...] = ()
    language: str = ""
    notes: dict[str, Any] = field(default_factory=dict)

    def changed(self, **changes: Any) -> Row:
        """As dataclasses.replace, in a fifth of the time; for what is done to every row."""
        values = list(_values_of(self))
        for name, value in changes.items():
            values[_PLACES[name]] = value
        return _row(*values)

    @property
    def kind(self) -> Kind:
        if self.chosen or self.rejected:
            return "preference"
        return "chat" if self.messages else "text"

    @property
    def all_messages(self) -> tuple[dict[str, Any], ...]:
        """The messages, and after them those of the replies that are compared."""
        return (*self.messages, *self.chosen, *self.rejected)

    @property
    def content(self) -> str:
        """All of the row's own text: the document, or the messages' contents, one a line."""
        return "\n".join(message["content"] for message in self.all_messages) if self.kind != "text" else self.text

    @property
    def characters(self) -> int:
        """Length of the document, or of all contents together."""
        if self.kind == "text":
            return len(self.text)
        return sum(len(message["content"]) for message in self.all_messages)


_FIELDS = tuple(item.name for item in fields(Row))
_PLACES = {name: place for place, name in enumerate(_FIELDS)}
_values_of = attrgetter(*_FIELDS)
_Draft = make_dataclass("_Draft", _FIELDS, slots=True)


def _row(*values: Any) -> Row:
    """Row(*values) in a third of the time: a frozen dataclass sets each field by a call, an open one does not."""
    draft = _Draft(*values)
    draft.__class__ = Row
    return draft


_EMPTY: dict[str, Any] = {"tools": (), "chosen": (), "rejected": (), "language": ""}


def read_rows(corpus: Artifact | Path | str, split: Split) -> Iterator[Row]:
    """The rows of one split in their order, read in batches. Raises HanlinError if a file is missing or unreadable."""
    for path in split_files(corpus, split):
        yield from read_file(path)


def read_file(path: Path) -> Iterator[Row]:
    """The rows of one Parquet file in their order. Raises HanlinError if it is unreadable."""
    try:
        with pq.ParquetFile(path) as file:
            columns = [name for name in SCHEMA.names if name in file.schema_arrow.names]
            if missing := [name for name in SCHEMA.names if name not in (*columns, *_LATER)]:
                raise KeyError(f"no column {missing[0]}")
            for batch in file.iter_batches(batch_size=_BATCH_ROWS, columns=columns):
                yield from rows_of(batch)
    except (pa.ArrowException, KeyError) as error:
        raise _unreadable(path, error) from None


def rows_of(batch: pa.RecordBatch | pa.Table) -> Iterator[Row]:
    """The rows of a table with the columns of SCHEMA (older corpora lack the last ones)."""
    num_rows = batch.num_rows
    columns = {item.name: [_EMPTY.get(item.name)] * num_rows for item in SCHEMA}
    columns |= {name: _values(name, batch.column(name)) for name in batch.schema.names}
    if "notes" not in batch.schema.names:
        columns["notes"] = [{} for _ in range(num_rows)]
    return map(_row, *(columns[name] for name in _FIELDS))


def table_of(rows: Sequence[Row]) -> pa.Table:
    """The rows as a table with the columns of SCHEMA."""
    arrays = []
    for item in SCHEMA:
        values: Sequence[Any] = list(map(attrgetter(item.name), rows))
        if item.name in _CONVERSATIONS:
            if not any(values):
                arrays.append(_no_messages(len(rows)))
                continue
            values = [[_stored(message) for message in messages] for messages in values]
        elif item.name in _JSON:
            values = list(map(_json, values))
        arrays.append(pa.array(values, item.type))
    return pa.table(arrays, schema=SCHEMA)


def count_rows(corpus: Artifact | Path | str, split: Split) -> int:
    """How many rows a split has, from the files' footers alone."""
    total = 0
    for path in split_files(corpus, split):
        try:
            total += pq.read_metadata(path).num_rows
        except pa.ArrowException as error:
            raise _unreadable(path, error) from None
    return total


def corpus_kind(corpus: Artifact | Path | str) -> Kind:
    """What the corpus holds: documents, conversations or preferences. Raises HanlinError for an empty corpus."""
    for split in KEPT:
        for row in read_rows(corpus, split):
            return row.kind
    raise HanlinError(
        f"{_folder(corpus)} holds no rows.",
        "a corpus with at least one row",
        "hanlin collect sources=…",
        "src/hanlin/make/collect/README.md",
    )


def split_files(corpus: Artifact | Path | str, split: Split) -> list[Path]:
    """The Parquet files of a split in order. Raises HanlinError if there are none."""
    folder = _folder(corpus)
    whole = folder / f"{split}.parquet"
    files = [whole] if whole.is_file() else sorted(folder.glob(f"{split}-*.parquet"))
    if not files:
        raise HanlinError(
            f"{folder} has no {split}.parquet.",
            "a corpus, as hanlin collect writes it",
            "hanlin collect sources=… out=…",
            "src/hanlin/make/collect/README.md",
        )
    return files


def write_rows(path: Path, rows: Iterable[Row]) -> int:
    """Stream rows into one Parquet file, which appears whole or not at all. Returns how many were written."""
    with RowWriter(path) as writer:
        for row in rows:
            writer.add(row)
    return writer.num_rows


class RowWriter:
    """Writes a Parquet file batch by batch under a temporary name; the end of the `with` block gives it its name."""

    def __init__(self, path: Path):
        self.path = path
        self.num_rows = 0
        self._temporary = path.with_name(path.name + ".tmp")
        self._writer = pq.ParquetWriter(self._temporary, SCHEMA, compression="zstd")
        self._batch: list[Row] = []
        self._batch_chars = 0

    def add(self, row: Row) -> None:
        self._batch.append(row)
        self._batch_chars += row.characters
        self.num_rows += 1
        if len(self._batch) >= _GROUP_ROWS or self._batch_chars >= _BATCH_CHARS:
            self._flush()

    def __enter__(self) -> RowWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if error is None:
                self._flush()
        finally:
            self._writer.close()
        if error is not None:
            self._temporary.unlink(missing_ok=True)
            return
        with self._temporary.open("rb+") as file:
            os.fsync(file.fileno())
        os.replace(self._temporary, self.path)

    def _flush(self) -> None:
        if self._batch:
            self._writer.write_table(table_of(self._batch))
            self._batch, self._batch_chars = [], 0


def _values(name: str, column: pa.Array | pa.ChunkedArray) -> list[Any]:
    """A column as what rows hold. Most rows have no messages, tools or notes, and cost nothing then."""
    if name in _CONVERSATIONS:
        if not pc.max(pc.list_value_length(column)).as_py():
            return [()] * len(column)
        return [tuple(map(_message, messages or ())) for messages in column.to_pylist()]
    values = column.to_pylist()
    if name == "tools":
        return [tuple(json.loads(text)) if text else () for text in values]
    if name == "notes":
        return [json.loads(text) if text else {} for text in values]
    return [value or "" for value in values] if name == "language" else values


def _no_messages(num_rows: int) -> pa.Array:
    offsets = pa.Array.from_buffers(pa.int32(), num_rows + 1, [None, pa.py_buffer(bytes(4 * (num_rows + 1)))])
    return pa.ListArray.from_arrays(offsets, pa.array([], _MESSAGES.value_type), type=_MESSAGES)


def _message(stored: dict[str, str | None]) -> dict[str, Any]:
    more = stored.pop("more", None)
    return {**stored, **json.loads(more)} if more else stored


def _stored(message: dict[str, Any]) -> dict[str, str | None]:
    more = {name: value for name, value in message.items() if name not in ("role", "content")}
    return {"role": message["role"], "content": message["content"], "more": _json(more)}


def _json(value: Any) -> str | None:
    return json.dumps(value, ensure_ascii=False) if value else None


def _folder(corpus: Artifact | Path | str) -> Path:
    return corpus.path if isinstance(corpus, Artifact) else Path(corpus)


def _unreadable(path: Path, error: Exception) -> HanlinError:
    return HanlinError(
        f"{path} is not a readable corpus file ({str(error).splitlines()[0][:120]}).",
        f"Parquet with the columns {', '.join(SCHEMA.names)}",
        "make the corpus again with hanlin collect",
        "src/hanlin/make/collect/README.md",
    )
