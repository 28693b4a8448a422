"""Single rows of a corpus by their number, without reading the others."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from hanlin.core.run.errors import HanlinError
from hanlin.core.text.documents import SCHEMA, SPLITS, rows_of
from hanlin.shows.data import MOST_NAMES, PAGE, Data, Picked, Shown, chosen_places, nothing_there

WORDS = {"train": "training rows", "heldout": "held-out rows", "rejected": "dropped rows"}


def pick_stored(path: str, files_of: Callable[[str], list[Path]], asked: Data) -> Picked:
    """Rows of a corpus. Raises HanlinError for an unreadable one, and for rows that are not there."""
    try:
        return _by_id(path, files_of, asked) if asked.id else _by_place(path, files_of, asked)
    except pa.ArrowException as error:
        raise HanlinError(
            f"{path} is not a readable corpus ({str(error).splitlines()[0][:120]}).",
            f"Parquet with the columns {', '.join(SCHEMA.names)}",
            "make the corpus again with hanlin collect",
            PAGE,
        ) from None


def _by_place(path: str, files_of: Callable[[str], list[Path]], asked: Data) -> Picked:
    split = asked.split or ("rejected" if asked.reason else "train")
    files = files_of(split)
    numbers, reasons = _numbers(files, asked.reason)
    places = chosen_places(asked, len(numbers))
    if not places:
        raise nothing_there(path, asked, reasons)
    how = "" if asked.start else f", drawn with seed={asked.seed or 0}"
    about = f' with reason "{asked.reason}"' if asked.reason else ""
    rows = _read(files, [numbers[place] for place in places])
    return Picked(rows, len(numbers), f"{WORDS[split]}{about}{how}")


def _by_id(path: str, files_of: Callable[[str], list[Path]], asked: Data) -> Picked:
    known: list[str] = []
    for split in [asked.split] if asked.split else SPLITS:
        files = files_of(split)
        ids = [pq.read_table(file, columns=["id"])["id"] for file in files]
        column = pa.chunked_array([chunk for each in ids for chunk in each.chunks], pa.string())
        found = pc.index(column, asked.id).as_py()
        if found >= 0:
            return Picked(_read(files, [found]), None, f"row of {split}")
        known += column.slice(0, max(0, MOST_NAMES - len(known))).to_pylist()
    raise nothing_there(path, asked, known)


def _numbers(files: Sequence[Path], reason: str) -> tuple[Sequence[int], list[str]]:
    """Numbers of the split's rows, or of those with a reason that begins so; and what reasons there are."""
    if not reason:
        return range(sum(pq.read_metadata(file).num_rows for file in files)), []
    numbers: list[int] = []
    names: dict[str, None] = {}
    begun = 0
    for file in files:
        for each in pq.read_table(file, columns=["reason"])["reason"].to_pylist():
            if each.startswith(reason):
                numbers.append(begun)
            elif len(names) < MOST_NAMES:
                names.setdefault(each.partition(":")[0])
            begun += 1
    return numbers, list(names)


def _read(files: Sequence[Path], numbers: Sequence[int]) -> Iterator[Shown]:
    """Rows by their number among all files' rows, ascending; only the row groups they stand in are read."""
    wanted = iter(numbers)
    number: Any = next(wanted, None)
    begun = 0
    for path in files:
        with pq.ParquetFile(path) as file:
            columns = [name for name in SCHEMA.names if name in file.schema_arrow.names]
            for group in range(file.num_row_groups):
                end = begun + file.metadata.row_group(group).num_rows
                if number is not None and number < end:
                    rows = file.read_row_group(group, columns=columns)
                    while number is not None and number < end:
                        (row,) = rows_of(rows.slice(number - begun, 1))
                        yield Shown(number + 1, row)
                        number = next(wanted, None)
                begun = end
