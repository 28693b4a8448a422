"""Files inside files: opened as streams, copied out one at a time, within bounds.

An archive is untrusted. Its names never become paths, and what it unpacks to is counted while it is unpacked: a file
may say anything about its size. The bound holds for the outermost archive and all that lies in it together.
"""

from __future__ import annotations

import bz2
import errno
import gzip
import io
import lzma
import struct
import tarfile
import tempfile
import uuid
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import Any

from hanlin.core.text.documents import Row
from hanlin.make.collect.reading.reader import Reading

MAX_RATIO = 200
"""Text shrinks to a fifth, logs to a fiftieth; a bomb unpacks to a thousandfold and more."""
FREE_BYTES = 64 * 2**20
"""Below that any ratio may be: a file of blanks is no bomb."""
MAX_BYTES = 256 * 2**30
MAX_DEPTH = 3
BLOCK_BYTES = 2**20

Read = Callable[..., Iterator[Row]]

_LIBRARIES = (
    EOFError,
    zipfile.BadZipFile,
    zipfile.LargeZipFile,
    tarfile.TarError,
    zlib.error,
    lzma.LZMAError,
    struct.error,
    ValueError,
    RuntimeError,
    NotImplementedError,
    LookupError,
    OverflowError,
    MemoryError,
)
"""What the libraries raise for damaged bytes, OSError without a number aside."""


class Broken(Exception):
    """Why a file can't be read, or not to its end."""


class TooMuch(Exception):
    """The outermost archive unpacks to more than it may."""


@dataclass
class Allowance:
    limit_bytes: int
    used_bytes: int = 0

    def take(self, num_bytes: int) -> None:
        self.used_bytes += num_bytes
        self.check(0)

    def check(self, more_bytes: int) -> None:
        """Raises TooMuch where `more_bytes` would be too many."""
        if self.used_bytes + more_bytes > self.limit_bytes:
            raise TooMuch(
                f"unpacks to over {self.limit_bytes / 2**20:.0f} MiB, {MAX_RATIO} times its size and more: unpack it "
                "yourself if you trust it"
            )


def container(read: Read) -> Read:
    """The reader of an archive: within bounds, and what is broken in it becomes a rejected row after those it gave."""

    @wraps(read)
    def bounded(path: Path, name: str, reading: Reading, *span: Any) -> Iterator[Row]:
        outermost = reading.allowance is None
        if reading.depth >= MAX_DEPTH:
            yield reading.unreadable(name, f"an archive more than {MAX_DEPTH} deep in others")
            return
        if outermost:
            limit = min(MAX_BYTES, max(FREE_BYTES, MAX_RATIO * path.stat().st_size))
            reading.allowance = Allowance(limit)
        reading.depth += 1
        try:
            yield from read(path, name, reading, *span)
        except Broken as error:
            yield reading.unreadable(name, str(error))
        except TooMuch as error:
            if not outermost:
                raise
            yield reading.unreadable(name, str(error))
        finally:
            reading.depth -= 1
            if outermost:
                reading.allowance = None

    return bounded


@contextmanager
def damage(what: str = "") -> Iterator[None]:
    """Turns what libraries raise for damaged bytes into Broken. A full disk stays what it is."""
    try:
        yield
    except (*_LIBRARIES, OSError) as error:
        if isinstance(error, OSError) and error.errno not in (None, errno.EINVAL):
            raise
        said = (str(error).splitlines() or [""])[0][:160] or type(error).__name__
        raise Broken(f"{what}: {said}" if what else said) from None


class Unpacked(io.RawIOBase):
    """The content of a file in `compression` (".gz", ".bz2", ".xz", ".zst", "" for none) as a stream that counts, and
    that raises Broken where the bytes are damaged."""

    def __init__(self, path: Path, compression: str, reading: Reading):
        assert reading.allowance is not None
        self._allowance = reading.allowance
        with damage():
            self._stream = _opened(path, compression)
        if not path.stat().st_size:
            raise Broken("the file is empty")

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        """At most a block at a time, whatever is asked for: what comes before the damage is given before it is met."""
        with damage():
            data = self._stream.read1(BLOCK_BYTES if size < 0 else min(size, BLOCK_BYTES))
        self._allowance.take(len(data))
        return data

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        data = self.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def close(self) -> None:
        if not self.closed and hasattr(self, "_stream"):
            self._stream.close()
        super().close()


@contextmanager
def scratch_file(reading: Reading, name: str) -> Iterator[Path]:
    """A place for one new file, gone afterwards. Its name keeps the suffix alone, in letters and digits."""
    folder = reading.scratch or Path(tempfile.gettempdir())
    folder.mkdir(parents=True, exist_ok=True)
    suffix = Path(name).suffix
    safe = suffix if suffix[1:].isascii() and suffix[1:].isalnum() and len(suffix) <= 10 else ""
    # Not created here: ext4 writes a file that was emptied and filled again to the disk at once, 4 ms each.
    path = folder / f"unpacked-{uuid.uuid4().hex}{safe}"
    try:
        yield path
    finally:
        path.unlink(missing_ok=True)


def copy_out(stream: Any, target: Path, allowance: Allowance | None = None) -> None:
    """The rest of the stream into a new file; counted where the stream doesn't count itself."""
    with target.open("xb") as file:
        while True:
            with damage():
                block = stream.read(BLOCK_BYTES)
            if not block:
                return
            if allowance is not None:
                allowance.take(len(block))
            file.write(block)


def _opened(path: Path, compression: str) -> Any:
    if compression == ".zst":
        import pyarrow as pa

        return pa.input_stream(str(path), compression="zstd")
    open_: Any = {"": open, ".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}[compression]
    return open_(path, "rb")
