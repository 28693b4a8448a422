"""Subtitles, by pysubs2: what is said, without times and formatting. Lines that a caption has cut are joined."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from pathlib import Path

from hanlin.core.run.errors import HanlinError
from hanlin.core.text.documents import Row
from hanlin.make.collect.reading.encoding import decode
from hanlin.make.collect.reading.parsers import needs, parsing
from hanlin.make.collect.reading.reader import Reading
from hanlin.make.collect.reading.unpacking import Broken

SUFFIXES = (".srt", ".vtt", ".ass", ".ssa")

_PAUSE_SECONDS = 5.0
"""A longer silence begins a new paragraph."""

_MARKUP = re.compile(r"<[^>\n]{1,40}>|\{\\[^}\n]*\}")


def read(path: Path, name: str, reading: Reading) -> Iterator[Row]:
    pysubs2 = needs("pysubs2", "documents", "Subtitles")
    try:
        decoded = decode(path.read_bytes(), name)
        with parsing():
            captions = pysubs2.SSAFile.from_string(decoded.text, format_=_format(name))
            text = _spoken(captions)
    except HanlinError as error:
        yield reading.unreadable(name, error.what.removeprefix(name).lstrip(":, "))
        return
    except Broken as error:
        yield reading.unreadable(name, str(error))
        return
    if decoded.remark:
        reading.note(f"{name}: {decoded.remark}.")
    if text:
        yield from reading.documents(name, text, type="subtitles")
    else:
        yield reading.unreadable(name, "no captions")


def _format(name: str) -> str:
    return {".ass": "ass", ".ssa": "ssa", ".vtt": "vtt", ".srt": "srt"}["." + name.lower().rpartition(".")[2]]


def _spoken(captions) -> str:
    """A caption a line; captions repeated at once (as for effects) are said once."""
    text, last, end = "", "", None
    for caption in captions:
        if caption.is_comment or caption.is_drawing:
            continue
        said = _joined(_MARKUP.sub("", caption.plaintext).split("\n"))
        if not said or said == last:
            continue
        if text:
            text += "\n\n" if end is not None and caption.start - end > _PAUSE_SECONDS * 1000 else "\n"
        text, last, end = text + said, said, caption.end
    return text


def _joined(lines: list[str]) -> str:
    """A caption's lines as one; where a dialogue's lines begin with a dash each stays its own."""
    lines = [line.strip() for line in lines if line.strip()]
    if sum(line.startswith(("-", "–", "—", "－")) for line in lines) > 1:
        return "\n".join(lines)
    said = ""
    for line in lines:
        wide = said and (
            unicodedata.east_asian_width(said[-1]) in "WF" or unicodedata.east_asian_width(line[0]) in "WF"
        )
        # Chinese subtitles have no full stops: the line's end is one, and a blank keeps it apart.
        said = f"{said}{'　' if wide else ' '}{line}" if said else line
    return said
