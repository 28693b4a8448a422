"""Web archives: every page that was fetched well becomes a document, its address the row's source.

    .warc  .warc.gz    ISO 28500 (WARC 1.0, 1.1): `response` and `resource` records that hold HTML or plain text
    .wet   .wet.gz     Common Crawl's WET: `conversion` records, text already

Images, scripts, pages not found and the like are counted in one note. A file that is cut or damaged gives its pages up
to there, and a rejected row that says where.
"""

from __future__ import annotations

import codecs
import io
import re
from collections import Counter
from collections.abc import Iterator
from contextlib import redirect_stderr
from pathlib import Path
from typing import Any

from hanlin.core.run.errors import HanlinError
from hanlin.core.text.documents import Row
from hanlin.make.collect.reading.reader import Reading
from hanlin.make.collect.reading.unpacking import BLOCK_BYTES, Broken, Unpacked, container, damage

SUFFIXES = (".warc", ".warc.gz", ".wet", ".wet.gz")

MAX_PAGE_BYTES = 16 * 2**20
MAX_HEADER_BYTES = 32 * 2**20
"""What may come without a line's end; more is no WARC, and would fill the memory."""

_HTML = ("text/html", "application/xhtml+xml")
_TEXT = ("text/plain",)
_CHARSET = re.compile(r"charset\s*=\s*[\"']?([\w.:-]+)", re.IGNORECASE)
_YEAR = re.compile(r"(\d{4})-")


@container
def read(path: Path, name: str, reading: Reading) -> Iterator[Row]:
    """Documents of all pages. `year` is that of the fetching."""
    left_out: Counter[str] = Counter()
    pages = 0
    try:
        for number, record in enumerate(_records(path, name, reading), start=1):
            page = _page(record, left_out)
            if page is not None:
                pages += 1
                yield from _documents(page, f"{name}:{number}", reading, left_out)
    finally:
        if left_out:
            most = ", ".join(f"{count:,} × {what}" for what, count in left_out.most_common(8))
            reading.note(f"{path}: left out {most}.")
    if not pages:
        raise Broken("the archive holds no page")


class _Page:
    """url, kind ("html" or "text"), bytes, charset by the server's word ("" where it said none), year of fetching."""

    def __init__(self, url: str, kind: str, data: bytes, charset: str, year: int | None):
        self.url, self.kind, self.data, self.charset, self.year = url, kind, data, charset, year


def _records(path: Path, name: str, reading: Reading) -> Iterator[Any]:
    """The records; after each, what was not read of it is skipped. Raises Broken where the file breaks off."""
    try:
        from warcio.archiveiterator import ArchiveIterator
        from warcio.exceptions import ArchiveLoadFailed
        from warcio.limitreader import LimitReader
        from warcio.statusandheaders import StatusAndHeadersParserException
    except ImportError:
        raise HanlinError(
            f"{path} is a web archive, and those need warcio.",
            "the extra documents",
            'pip install "hanlin[documents]"',
            "src/hanlin/make/collect/README.md",
        ) from None
    with Unpacked(path, ".gz" if name.lower().endswith(".gz") else "", reading) as stream:
        patient = _Patient(stream)
        records = ArchiveIterator(patient)
        for number in range(1, 1 << 62):
            try:
                # warcio prints its warnings, and counts them.
                with damage(f"record {number}"), redirect_stderr(io.StringIO()):
                    record = next(records, None)
            except (ArchiveLoadFailed, StatusAndHeadersParserException) as error:
                raise Broken(f"record {number}: {str(error).strip().splitlines()[0][:160]}") from None
            except (TypeError, AttributeError):  # warcio's, where a header lacks what it counts on
                raise Broken(f"record {number}: a broken header") from None
            if records.err_count:
                raise Broken(f"record {number}: its length is not the one before it says")
            if record is None:
                if records.next_line:  # the next record's first line was there
                    raise Broken(f"cut short in record {number}")
                return
            if not isinstance(record.raw_stream, LimitReader):
                raise Broken(f"record {number} has no length")
            yield record
            _skip(record, patient, number)


def _skip(record: Any, patient: _Patient, number: int) -> None:
    while record.raw_stream.limit > 0:
        patient.since = 0
        with damage(f"record {number}"):
            if not record.raw_stream.read(BLOCK_BYTES):
                raise Broken(f"cut short in record {number}")
    patient.since = 0


class _Patient(io.RawIOBase):
    """A stream that gives up where nothing sensible comes for a long time."""

    def __init__(self, stream: Unpacked):
        self._stream, self._place, self.since = stream, 0, 0

    def readable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._place

    def read(self, size: int = -1) -> bytes:
        data = self._stream.read(size)
        # warcio would unpack it, uncounted.
        if not self._place and data[:2] == b"\x1f\x8b":
            raise Broken("compressed twice")
        self._place += len(data)
        self.since += len(data)
        if self.since > MAX_HEADER_BYTES:
            raise Broken(f"no record for {MAX_HEADER_BYTES // 2**20} MiB")
        return data


def _page(record: Any, left_out: Counter[str]) -> _Page | None:
    kind = record.rec_type
    if kind not in ("response", "resource", "conversion"):
        if kind not in ("warcinfo", "request", "metadata"):
            left_out[f"{kind} record"] += 1
        return None
    headers = record.rec_headers
    url = (headers.get_header("WARC-Target-URI") or "").strip("<>")
    if kind == "response":
        if record.http_headers is None:
            left_out["not HTTP"] += 1
            return None
        status = record.http_headers.get_statuscode()
        if status != "200":
            left_out[f"status {status}"] += 1
            return None
        said = record.http_headers.get_header("Content-Type") or ""
    else:
        said = record.content_type or ""
    medium = said.partition(";")[0].strip().lower()
    if medium not in (*_HTML, *_TEXT):
        left_out[medium[:60] or "no type"] += 1
        return None
    data = _payload(record, left_out)
    if data is None:
        return None
    year = _YEAR.match(headers.get_header("WARC-Date") or "")
    charset = _CHARSET.search(said)
    return _Page(
        url, "html" if medium in _HTML else "text", data, charset[1] if charset else "", int(year[1]) if year else None
    )


def _payload(record: Any, left_out: Counter[str]) -> bytes | None:
    """The page's bytes as the server meant them; None for what can't be unpacked or is too long."""
    from warcio.bufferedreaders import BufferedReader, ChunkedDataException

    coding = (record.http_headers.get_header("Content-Encoding") or "").lower() if record.http_headers else ""
    if coding not in ("", "identity", *BufferedReader.get_supported_decompressors()):
        left_out[f"page in {coding[:20]}"] += 1
        return None
    data = bytearray()
    try:
        with damage():
            stream = record.content_stream()
            while len(data) <= MAX_PAGE_BYTES and (block := stream.read(BLOCK_BYTES)):
                data += block
    except (Broken, ChunkedDataException):
        left_out["damaged page"] += 1
        return None
    if len(data) > MAX_PAGE_BYTES:
        left_out[f"page over {MAX_PAGE_BYTES // 2**20} MiB"] += 1
        return None
    return bytes(data)


def _documents(page: _Page, row_id: str, reading: Reading, left_out: Counter[str]) -> Iterator[Row]:
    facts: dict[str, Any] = {"type": "page", "source": page.url, "year": page.year, "group": page.url}
    data = _in_utf8(page.data, page.charset)
    if page.kind == "html":
        from hanlin.make.collect.reading.html import decoded, text_of_markup

        try:
            markup = decoded(data)
        except HanlinError:
            left_out["page in no known encoding"] += 1
            return
        try:
            text = text_of_markup(markup, page.url)
        except Broken:
            left_out["page that can't be parsed"] += 1
            return
    else:
        text = data.decode("utf-8-sig", errors="replace")
    yield from reading.documents(row_id, text, **facts)


def _in_utf8(data: bytes, charset: str) -> bytes:
    """The server's word on the charset goes before the page's own, where the bytes agree with it. The mark at the
    beginning makes it stand."""
    try:
        codec = codecs.lookup(charset or "utf-8")
        return codecs.BOM_UTF8 + codec.decode(data)[0].removeprefix("\ufeff").encode("utf-8")
    except (LookupError, ValueError, TypeError):
        return data
