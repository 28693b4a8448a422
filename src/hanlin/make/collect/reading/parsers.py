"""Other people's parsers on untrusted bytes: what they raise, warn and log for a damaged file becomes one sentence."""

from __future__ import annotations

import importlib
import logging
import warnings
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hanlin.core.run.errors import HanlinError
from hanlin.make.collect.reading.unpacking import FREE_BYTES, MAX_RATIO, Broken

_LOUD = ("pypdf", "trafilatura", "htmldate", "courlan", "justext", "charset_normalizer", "RapidOCR")


def needs(module: str, extra: str, what: str) -> Any:
    """The library, imported. Raises HanlinError with the line that installs it; `what` is what it reads."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return importlib.import_module(module)
    except ImportError as error:
        raise HanlinError(
            f"{what} can't be read: {error}.",
            f"the packages of the extra {extra}",
            f'pip install "hanlin[{extra}]"',
            "src/hanlin/make/collect/README.md",
        ) from None


@contextmanager
def parsing(what: str = "") -> Iterator[None]:
    """Around a library's work on a file. Raises Broken, with the library's own words, for whatever it raises: parsers
    of broken files end in any exception there is. What the user can solve, and a full memory, stay what they are."""
    for name in _LOUD:
        logging.getLogger(name).setLevel(logging.CRITICAL)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            yield
        except (HanlinError, Broken, MemoryError):
            raise
        except Exception as error:
            said = (str(error).strip().splitlines() or [""])[0][:160] or type(error).__name__
            raise Broken(f"{what}: {said}" if what else said) from None


def open_zip(path: Path) -> zipfile.ZipFile:
    """A zip that is a document of many parts. Raises Broken for what is no zip, is encrypted, or unpacks to too much:
    Python reads no more of a member than its entry says, so the entries' sum is a bound."""
    with parsing():
        archive = zipfile.ZipFile(path)
    members = archive.infolist()
    unpacked = sum(member.file_size for member in members)
    try:
        if any(member.flag_bits & 1 for member in members):
            raise Broken("encrypted with a password")
        if unpacked > max(FREE_BYTES, MAX_RATIO * path.stat().st_size):
            raise Broken(f"unpacks to {unpacked / 2**20:.0f} MiB, over {MAX_RATIO} times its size")
    except Broken:
        archive.close()
        raise
    return archive
