"""HTML pages: the article without menus and footers, by trafilatura; its title first.

Encoding as browsers find it (HTML standard, 13.2.3.2): byte order mark, what the page's meta element says, then the
bytes themselves. Valid UTF-8 goes first all the same: pages say more than they keep.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from hanlin.core.run.errors import HanlinError
from hanlin.core.text.documents import Row
from hanlin.make.collect.reading.encoding import NAMES, decode
from hanlin.make.collect.reading.parsers import needs, parsing
from hanlin.make.collect.reading.reader import Reading
from hanlin.make.collect.reading.unpacking import Broken

SUFFIXES = (".html", ".htm", ".xhtml", ".xht")

MAX_BYTES = 32 * 2**20
MAX_TAGS = 300_000
"""trafilatura takes about 0.1 ms for each."""

_HEAD_BYTES = 4096
_CHARSET = re.compile(rb"""(?:charset|encoding)\s*=\s*["']?\s*([A-Za-z0-9_:.-]+)""")
_WIDE = "[\u3000-\u303f\u3400-\u9fff\uff00-\uffef]"
LINE_END_IN_CHINESE = re.compile(rf"(?<={_WIDE})[ \t]*\r?\n[ \t]*(?={_WIDE})")
# Of Python's codecs those that a page may be in; others unpack, unescape or translate.
_TEXT_ENCODING = re.compile(r"utf-?8|big5|gb|euc|x?-?sjis|shift|ks_c|iso-?(8859|2022)|windows-|cp\d|koi8|tis|macintosh")
# What pages call an encoding, and the larger one that browsers read it with.
_LARGER = {
    "big5": ("cp950", "big5hkscs"),
    "gb2312": ("gb18030",),
    "gbk": ("gb18030",),
    "gb18030": ("gb18030",),
    "euc-kr": ("cp949",),
}


def read(path: Path, name: str, reading: Reading) -> Iterator[Row]:
    if path.stat().st_size > MAX_BYTES:
        yield reading.unreadable(name, f"a page of over {MAX_BYTES // 2**20} MiB")
        return
    try:
        markup = decoded(path.read_bytes(), lambda remark: reading.note(f"{name}: {remark}."))
        text = text_of_markup(markup)
    except HanlinError as error:
        if 'pip install "hanlin' in error.do:
            raise
        yield reading.unreadable(name, error.what.removeprefix("the page").lstrip(":, "))
        return
    except Broken as error:
        yield reading.unreadable(name, str(error))
        return
    if text:
        yield from reading.documents(name, text, type="page")
    else:
        yield reading.unreadable(name, "no text besides menus")


def text_of_html(data: bytes, url: str = "") -> str:
    """The page's own text, with its title before it; "" where there is none. Raises HanlinError for bytes that are no
    text, or where trafilatura is missing, and Broken for what it can't parse."""
    return text_of_markup(decoded(data), url)


def text_of_markup(markup: str, url: str = "") -> str:
    """The same of a page that is decoded already."""
    trafilatura = needs("trafilatura", "documents", "HTML pages")
    if not markup.strip():
        return ""
    if markup.count("<") > MAX_TAGS:
        raise Broken(f"a page of over {MAX_TAGS:,} tags")
    markup = _prepared(markup)
    with parsing():
        found = trafilatura.bare_extraction(
            markup, url=url or None, include_comments=False, with_metadata=True, favor_recall=True
        )
        text = (found.text or "").strip() if found is not None else ""
        title = " ".join((found.title or "").split()) if found is not None else ""
        if not text:
            text = trafilatura.baseline(markup)[1].strip()
    if not text:
        return ""
    return text if not title or text.startswith(title) else f"{title}\n\n{text}"


def decoded(data: bytes, hear: Callable[[str], None] | None = None) -> str:
    """The markup; `hear` is told which broken lines are left out of it. Raises HanlinError with line and byte where the
    bytes are text in no encoding."""
    if data.startswith((codecs.BOM_UTF8, codecs.BOM_UTF16_BE, codecs.BOM_UTF16_LE)):
        return _by_bytes(data, hear)
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        pass
    said = _said(data)
    try:
        if said[:1] and said[0] not in NAMES and (text := _decoded_as(data, said)) is not None:
            return text
        # Of East Asia's encodings the bytes know better: GB18030 takes nearly any bytes, and gives Han for them.
        return _by_bytes(data, hear)
    except HanlinError:
        if (text := _decoded_as(data, said)) is not None:
            return text
        raise


def _by_bytes(data: bytes, hear: Callable[[str], None] | None) -> str:
    found = decode(data, "the page")
    if found.broken and hear is not None:
        hear(found.remark)
    return found.text


def _decoded_as(data: bytes, encodings: tuple[str, ...]) -> str | None:
    for encoding in encodings:
        try:
            return data.decode(encoding)
        except (UnicodeError, LookupError):
            continue
    return None


def _said(data: bytes) -> tuple[str, ...]:
    """The encodings that the page itself names."""
    named = _CHARSET.search(data[:_HEAD_BYTES])
    if named is None:
        return ()
    encoding: Any = named[1].decode("ascii").lower()
    if encoding in ("iso-8859-1", "latin1", "windows-1252", "us-ascii"):
        # Servers and editors write these into any page; such bytes decode always, and tell nothing.
        return ()
    if _TEXT_ENCODING.match(encoding) is None:
        return ()
    return _LARGER.get(encoding.replace("-hkscs", "").replace("x-x-", ""), (encoding,))


def _prepared(markup: str) -> str:
    """Without NUL, which browsers drop, and without line ends between Han, which they show as nothing (CSS Text 3,
    4.1.3) and parsers as a blank."""
    markup = markup.replace("\x00", "")
    if "<html" not in markup[:_HEAD_BYTES].lower():
        # trafilatura takes nothing for a page that doesn't say it is one.
        markup = f"<html><body>{markup}</body></html>"
    return markup if "<pre" in markup else LINE_END_IN_CHINESE.sub("", markup)
