"""Single compressed files (notes.txt.gz): unpacked to a temporary file, then read by the inner name's reader."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from hanlin.core.text.documents import Row
from hanlin.make.collect.reading.reader import Reading, reader_of
from hanlin.make.collect.reading.unpacking import Broken, Unpacked, container, copy_out, scratch_file

SUFFIXES = (".gz", ".bz2", ".xz", ".zst")


@container
def read(path: Path, name: str, reading: Reading) -> Iterator[Row]:
    """Rows of the file inside. A damaged or cut file gives none of them, but one rejected row with the reason."""
    inside, _, _ = name.rpartition(".")
    if reader_of(inside) is None:
        raise Broken(f"no reader knows what is inside ({Path(inside).name})")
    compression = name[len(inside) :].lower()
    with scratch_file(reading, inside) as copy:
        with Unpacked(path, compression, reading) as stream:
            copy_out(stream, copy)
        yield from reading.inner(copy, f"{name}!{Path(inside).name}", str(path))
