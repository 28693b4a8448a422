"""Text and Markdown files: one file, one document, or several passages where it is long."""

from __future__ import annotations

import codecs
from collections.abc import Iterator
from pathlib import Path

from hanlin.core.run.errors import HanlinError
from hanlin.core.text.documents import Row
from hanlin.make.collect.reading.reader import Reading

SUFFIXES = (".txt", ".md", ".markdown")

_BYTE_ORDER_MARKS = ((codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))
_FREQUENT_LEAD_BYTE = 0xC6
"""Big5 puts its 5,401 frequent characters up to this lead byte. Other encodings misread as Big5 land beyond it."""
_LEAST_FREQUENT_SHARE = 0.9


def read(path: Path, name: str, reading: Reading) -> Iterator[Row]:
    """Rows of one file. Raises HanlinError with file and byte if it is not text."""
    try:
        text, encoding = decode(path.read_bytes(), path)
    except HanlinError as error:
        yield reading.wrong(error, name)
        return
    if encoding not in ("utf-8", "utf-8-sig"):
        reading.note(f"{path} is not UTF-8; read as {encoding}.")
    yield from reading.documents(name, text)


def decode(data: bytes, path: Path) -> tuple[str, str]:
    """(text, encoding): by its byte order mark, else UTF-8, else Big5 (cp950) where that reads as Chinese."""
    for mark, encoding in _BYTE_ORDER_MARKS:
        if data.startswith(mark):
            return _decode_as(data, encoding, path), encoding
    try:
        return data.decode("utf-8"), "utf-8"
    except UnicodeDecodeError as error:
        text = _big5(data)
        if text is None:
            raise _no_encoding(path, data, error) from None
        return text, "Big5 (cp950)"


def not_text(place: str, data: bytes, error: UnicodeDecodeError, expected: str) -> HanlinError:
    """`place` names the file and the line; the byte counts from the beginning of `data`."""
    return HanlinError(
        f"{place}: byte {error.start} (0x{data[error.start]:02x}) is not {error.encoding}.",
        expected,
        "iconv -f GB18030 -t UTF-8 FILE > converted.txt  (with the encoding the file was saved in)",
        "src/hanlin/make/collect/README.md",
    )


def _decode_as(data: bytes, encoding: str, path: Path) -> str:
    try:
        return data.decode(encoding)
    except UnicodeDecodeError as error:
        raise _no_encoding(path, data, error) from None


def _no_encoding(path: Path, data: bytes, error: UnicodeDecodeError) -> HanlinError:
    line = data.count(b"\n", 0, error.start) + 1
    return not_text(f"{path}, line {line}", data, error, "text in UTF-8, UTF-16 with a byte order mark, or Big5")


def _big5(data: bytes) -> str | None:
    """The text if the bytes are valid Big5 and nearly all of its characters are frequent ones."""
    try:
        text = data.decode("cp950")
    except UnicodeDecodeError:
        return None
    leads = [character.encode("cp950")[0] for character in text if ord(character) >= 0x80]
    frequent = sum(lead <= _FREQUENT_LEAD_BYTE for lead in leads)
    return text if leads and frequent >= _LEAST_FREQUENT_SHARE * len(leads) else None
