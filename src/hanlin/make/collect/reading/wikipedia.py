"""MediaWiki's XML dumps, streamed: every article becomes a document that begins with its title.

    .xml  .xml.bz2  .xml.gz     pages-articles and pages-articles-multistream; https://www.mediawiki.org/xml/export-0.11

Articles alone (namespace 0). Redirects and disambiguation pages are dropped with that reason. A dump that is cut gives
its pages up to there. XML with a DOCTYPE is refused before it is parsed: no dump has one, and all attacks with entities
need one.
"""

from __future__ import annotations

import bz2
import io
import re
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from hanlin.core.run.errors import HanlinError
from hanlin.core.text.documents import Row
from hanlin.make.collect.reading.jsonl import Span
from hanlin.make.collect.reading.reader import Reading
from hanlin.make.collect.reading.unpacking import Broken, Unpacked, container, damage
from hanlin.make.collect.reading.wikitext import Unparsable, plain_text

SUFFIXES = (".xml", ".xml.bz2", ".xml.gz")
_HEAD_BYTES = 2**16
_BASE = re.compile(rb"<base>(https?://[^<]{1,300}/)[^/<]*</base>")
_STREAM = b"BZh91AY&SY"
"""A bzip2 stream's beginning: its header at level 9, and the first block's mark (π)."""
_PAGE = b"<page>"
_END = b"</mediawiki>"
_BEGIN = b"<mediawiki>"


@container
def read(path: Path, name: str, reading: Reading, span: Span | None = None) -> Iterator[Row]:
    """Rows of all articles; of those in a `span` alone, where one is given."""
    compression = next((kind for kind in (".bz2", ".gz") if name.lower().endswith(kind)), "")
    base = _base(path, compression, reading)
    other: Counter[str] = Counter()
    pages = 0
    try:
        for page in _pages(path, compression, reading, span):
            pages += 1
            if page.namespace == "0":
                yield from _rows(page, f"{name}#{page.id}", base, reading)
            else:
                other[f"namespace {page.namespace}"] += 1
    finally:
        if other:
            most = ", ".join(f"{count:,} × {what}" for what, count in other.most_common(8))
            reading.note(f"{path}: left out {most}.")
    if not pages and span is None:
        raise Broken("the dump holds no pages")


def spans(path: Path, least_bytes: int) -> list[Span]:
    """The dump as spans of whole pages, or of whole bzip2 streams; one span where it can't be cut."""
    borders = [0]
    with path.open("rb") as file:
        mark = _STREAM if file.peek(4).startswith(_STREAM[:4]) else _PAGE
        tail, place = b"", 0
        while block := file.read(1 << 22):
            data = tail + block
            found = data.find(mark)
            while found >= 0:
                if place - len(tail) + found - borders[-1] >= least_bytes:
                    borders.append(place - len(tail) + found)
                found = data.find(mark, found + 1)
            place += len(block)
            tail = data[-len(mark) + 1 :]
    return [Span(start, end, 1) for start, end in zip(borders, [*borders[1:], path.stat().st_size])]


class _Page:
    """A <page>: of its revisions the last."""

    def __init__(self, element: Any):
        self.id = element.findtext("{*}id") or "?"
        self.title = (element.findtext("{*}title") or "").strip()
        self.namespace = element.findtext("{*}ns") or "0"
        redirect = element.find("{*}redirect")
        self.redirect = redirect.get("title", "?") if redirect is not None else ""
        revision = next(reversed(element.findall("{*}revision")), None)
        self.text = self.model = self.timestamp = ""
        if revision is not None:
            self.text = revision.findtext("{*}text") or ""
            self.model = revision.findtext("{*}model") or "wikitext"
            self.timestamp = revision.findtext("{*}timestamp") or ""


def _rows(page: _Page, row_id: str, base: str, reading: Reading) -> Iterator[Row]:
    year = page.timestamp[:4]
    facts: dict[str, Any] = {
        "type": "article",
        "group": page.title,
        "source": base + page.title.replace(" ", "_") if base else "",
        "year": int(year) if len(year) == 4 and year.isascii() and year.isdecimal() else None,
    }
    if page.redirect:
        yield Row(id=row_id, reason=f"redirect: {page.title} → {page.redirect}", **facts)
        return
    if page.model != "wikitext":
        yield Row(id=row_id, reason=f"no article: {page.model}", **facts)
        return
    try:
        plain = plain_text(page.text)
    except Unparsable as error:
        yield Row(id=row_id, reason=f"unreadable: {error}", **facts)
        return
    if plain.disambiguation:
        yield Row(id=row_id, text=plain.text, reason="disambiguation", **facts)
        return
    if plain.conversions:
        facts["notes"] = {"wikipedia": {"wordings to Taiwan's": plain.conversions}}
    text = f"{page.title}\n\n{plain.text}" if plain.text else ""
    yield from reading.documents(row_id, text, **facts)


def _pages(path: Path, compression: str, reading: Reading, span: Span | None) -> Iterator[_Page]:
    try:
        from lxml import etree
    except ImportError:
        raise HanlinError(
            f"{path} is XML, and dumps need lxml and mwparserfromhell.",
            "the extra documents",
            'pip install "hanlin[documents]"',
            "src/hanlin/make/collect/README.md",
        ) from None
    with _stream(path, compression, reading, span) as stream:
        events = etree.iterparse(stream, tag="{*}page", resolve_entities=False, load_dtd=False, no_network=True)
        while True:
            try:
                with damage():
                    _, element = next(events, (None, None))
            except etree.XMLSyntaxError as error:
                raise Broken(f"broken XML ({str(error).splitlines()[0][:160]})") from None
            if element is None:
                return
            page = _Page(element)
            # What is read is let go: the element, and those before it that its parent still holds.
            element.clear()
            while element.getprevious() is not None:
                del element.getparent()[0]
            yield page


def _stream(path: Path, compression: str, reading: Reading, span: Span | None) -> io.RawIOBase:
    if span is None:
        return Unpacked(path, compression, reading)
    return _Pages(path, compression, span)


class _Pages(io.RawIOBase):
    """A span as a document of its own: the root element is put around what has lost it."""

    def __init__(self, path: Path, compression: str, span: Span):
        self._file = path.open("rb")
        self._file.seek(span.start)
        self._left = span.end - span.start
        self._bz2 = bz2.BZ2Decompressor() if compression else None
        self._is_last = span.end == path.stat().st_size
        self._ready = b"" if span.start == 0 else _BEGIN
        self._done = False

    def readable(self) -> bool:
        return True

    def close(self) -> None:
        self._file.close()
        super().close()

    def read(self, size: int = -1) -> bytes:
        if not self._ready and not self._done:
            content = self._content()
            self._done = content is None
            # The last span brings the end itself: where it doesn't, the dump is cut.
            self._ready = content if content is not None else b"" if self._is_last else _END
        data = self._ready if size < 0 else self._ready[:size]
        self._ready = self._ready[len(data) :]
        return data

    def _content(self) -> bytes | None:
        """The next piece, None at the end."""
        with damage():
            if self._bz2 is None:
                return self._raw(1 << 16) or None
            while True:
                if self._bz2.eof:
                    rest = self._bz2.unused_data
                    self._bz2 = bz2.BZ2Decompressor()
                    data = rest or self._raw(1 << 16)
                    if not data:
                        return None
                else:
                    data = self._raw(1 << 16) if self._bz2.needs_input else b""
                    if self._bz2.needs_input and not data:
                        raise EOFError("the bzip2 stream is cut short")
                if out := self._bz2.decompress(data, 1 << 20):
                    return out

    def _raw(self, size: int) -> bytes:
        data = self._file.read(min(size, self._left))
        self._left -= len(data)
        return data


def _base(path: Path, compression: str, reading: Reading) -> str:
    """The wiki's address, from the head of the dump. Raises Broken for XML that is no dump."""
    head = b""
    # Damage behind the head is met again by who reads on.
    with suppress(Broken), Unpacked(path, compression, reading) as stream:
        while len(head) < _HEAD_BYTES and (block := stream.read(_HEAD_BYTES - len(head))):
            head += block
    root = head.find(_BEGIN[:-1])
    if not head:
        raise Broken("the file is empty, or damaged from its beginning")
    if root < 0:
        raise Broken("XML, but no dump of a MediaWiki")
    if b"<!DOCTYPE" in head[:root] or b"<!ENTITY" in head[:root]:
        raise Broken("XML with a DOCTYPE, which no dump has")
    base = _BASE.search(head)
    return base[1].decode("utf-8", errors="replace") if base else ""
