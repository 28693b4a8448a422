"""A file of a data set on the Hugging Face hub: fetched when its turn comes, read, and let go again."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

from hanlin.core.run.source_hub import POINTER, download_pointed, pointed_at
from hanlin.core.text.documents import Row
from hanlin.make.collect.reading.reader import Reading, reader_of

SUFFIXES = (POINTER,)


def read(path: Path, name: str, reading: Reading) -> Iterator[Row]:
    """Rows of the file that the pointer means. Raises HanlinError where it can't be had: the run goes on from there."""
    inside = name.removesuffix(POINTER)
    if reader_of(inside) is None:
        yield reading.unreadable(inside, f"no reader knows it ({Path(inside).suffix or inside})")
        return
    facts = pointed_at(path)
    if reading.scratch is not None:
        reading.scratch.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=reading.scratch, prefix="hub-") as folder:
        copy = download_pointed(path, Path(folder))
        yield from reading.inner(copy, inside, f"hf:datasets/{facts['repository']}!{facts['file']}")
