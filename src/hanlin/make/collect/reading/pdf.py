"""PDF files, by two engines: PDFium reads every page, pypdf reads it again, and the saner text wins (pdf_sanity.py).

Pages whose text is not sane, or that are pictures, are recognised (ocr.py) or set aside: each becomes a rejected row
that says why, and the document's notes count them. Nothing garbled is passed on as text.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from hanlin.core.text.documents import Row
from hanlin.make.collect.reading import ocr
from hanlin.make.collect.reading.parsers import needs, parsing
from hanlin.make.collect.reading.pdf_layout import paragraphs, without_running_lines
from hanlin.make.collect.reading.pdf_options import Pdf
from hanlin.make.collect.reading.pdf_sanity import agreement, sanity
from hanlin.make.collect.reading.reader import Reading
from hanlin.make.collect.reading.unpacking import Broken

SUFFIXES = (".pdf",)

MAX_PAGES = 20_000
MAX_PAGE_CHARS = 400_000
_MAX_PIXELS = 25_000_000
_MAX_CONTENT_BYTES = 4 * 2**20
"""A page with more drawing orders than this is left to PDFium alone: pypdf would take minutes."""

_TELLING_CHARS = 120
_DOUBTED_AGREEMENT = 0.6
"""Where two engines have fewer characters in common than this, neither can be believed fully."""


@dataclass(frozen=True)
class Page:
    """text: "" where it is set aside for the reason in `aside`, or blank. by: "text" or "OCR"."""

    number: int
    text: str = ""
    by: str = "text"
    aside: str = ""
    garbled: str = ""


def read(path: Path, name: str, reading: Reading) -> Iterator[Row]:
    """One document (or one for each page, pdf.pages=apart), and a rejected row for each page that is set aside."""
    options = reading.config.pdf
    needs("pypdfium2", "documents", "PDF files")
    needs("pypdf", "documents", "PDF files")
    if options.ocr == "always":
        needs("rapidocr", "ocr", "Pages' pictures")
    try:
        pages = _doubted(list(_pages(path, options)))
    except Broken as error:
        yield reading.unreadable(name, str(error))
        return
    aside = [page for page in pages if page.aside]
    if aside:
        numbers = ", ".join(str(page.number) for page in aside[:10]) + (" …" if len(aside) > 10 else "")
        hint = "" if ocr.is_installed() or options.ocr == "never" else '; pip install "hanlin[ocr]" recognises them'
        reading.note(f"{name}: set aside {len(aside)} of {len(pages)} pages ({numbers}){hint}.")
    yield from _documents(name, pages, reading)
    for page in aside:
        yield Row(id=f"{name}#p{page.number}", text=page.garbled, type="document", group=name, reason=page.aside)
    if not any(page.text or page.aside for page in pages):
        yield reading.unreadable(name, "no text on any page" if pages else "no pages")


def _doubted(pages: list[Page]) -> list[Page]:
    """Where most pages are garbled, those too short to tell are not believed."""
    if 2 * sum(page.aside.startswith("garbled") for page in pages) <= sum(
        bool(page.text or page.aside) for page in pages
    ):
        return pages
    why = "too short to tell, and most pages are garbled"
    return [
        replace(page, text="", garbled=page.text, aside=f"garbled page: page {page.number}, {why}")
        if page.by == "text" and 0 < len("".join(page.text.split())) < _TELLING_CHARS
        else page
        for page in pages
    ]


def _documents(name: str, pages: list[Page], reading: Reading) -> Iterator[Row]:
    options = reading.config.pdf
    good = [page for page in pages if page.text]
    if not good:
        return
    lines = [page.text.splitlines() for page in good]
    if options.running_lines == "drop":
        lines = without_running_lines(lines)
    counts = {
        "pages": len(pages),
        "recognised": sum(page.by == "OCR" for page in good),
        "set aside": sum(bool(page.aside) for page in pages),
    }
    notes = {"pdf": {what: number for what, number in counts.items() if number}}
    if options.pages == "joined":
        yield from reading.documents(name, paragraphs(lines), notes=notes)
        return
    for page, own in zip(good, lines):
        yield from reading.documents(f"{name}#p{page.number}", paragraphs([own]), group=name, notes=notes)


def _pages(path: Path, options: Pdf) -> Iterator[Page]:
    import pypdfium2

    with parsing():
        try:
            document = pypdfium2.PdfDocument(path)
        except pypdfium2.PdfiumError as error:
            raise Broken("encrypted with a password" if "password" in str(error).lower() else str(error)) from None
    with closing(document):
        if len(document) > MAX_PAGES:
            raise Broken(f"{len(document):,} pages; {MAX_PAGES:,} are the most that are read")
        second = _Second(path)
        for index in range(len(document)):
            yield _page(document, second, index, options)


def _page(document: Any, second: _Second, index: int, options: Pdf) -> Page:
    number = index + 1
    try:
        with parsing(), closing(document[index]) as page:
            text, score, why = _best(page, second, index) if options.ocr != "always" else ("", 0.0, "not looked at")
            if score >= options.least_sanity:
                return Page(number, text)
            if options.ocr != "always" and not text.strip() and not _has_content(page):
                return Page(number)
            wanted = options.ocr == "always" or (options.ocr == "auto" and ocr.is_installed())
            recognised, confidence = ocr.recognise(_picture(page, options.ocr_dpi)) if wanted else ("", 0.0)
    except Broken as error:
        return Page(number, aside=f"broken page: page {number}, {error}")
    if recognised and confidence >= options.least_confidence and sanity(recognised).score >= options.least_sanity:
        return Page(number, recognised, by="OCR")
    read = f"; OCR is {confidence:.0%} sure" if recognised else "; OCR found nothing" if wanted else ""
    if not text.strip():
        return Page(number, aside=f"page without text: page {number} is a picture{read}", garbled=recognised)
    return Page(number, aside=f"garbled page: page {number}, {why} (sanity {score:.2f}){read}", garbled=text)


def _best(page: Any, second: _Second, index: int) -> tuple[str, float, str]:
    """(text, score, what is wrong): the saner reading's."""
    with closing(page.get_textpage()) as textpage:
        first = textpage.get_text_bounded().replace("\r\n", "\n")[:MAX_PAGE_CHARS]
    other = second.text(index)[:MAX_PAGE_CHARS]
    one, two = sanity(first), sanity(other)
    # PDFium keeps lines and order better, so pypdf must be clearly saner to win.
    text, found = (other, two) if two.score > one.score + 0.1 else (first, one)
    score, why = found.score, found.why
    if (
        first.strip()
        and other.strip()
        and (common := agreement(first, other)) < _DOUBTED_AGREEMENT
        and one.score == two.score
    ):
        score, why = score * common / _DOUBTED_AGREEMENT, "two engines read different characters"
    return text, score, why


class _Second:
    """pypdf's reading of pages, "" where it can't read one. It is asked only for a second opinion."""

    def __init__(self, path: Path):
        import pypdf

        self._reader: Any = None
        try:
            with parsing():
                reader = pypdf.PdfReader(path)
                if not reader.is_encrypted or reader.decrypt(""):
                    self._reader = reader
        except Broken:
            pass

    def text(self, index: int) -> str:
        if self._reader is None:
            return ""
        try:
            with parsing():
                page = self._reader.pages[index]
                contents = page.get_contents()
                if contents is None or len(contents.get_data()) > _MAX_CONTENT_BYTES:
                    return ""
                return page.extract_text() or ""
        except Broken:
            return ""


def _has_content(page: Any) -> bool:
    return next(iter(page.get_objects(max_depth=1)), None) is not None


def _picture(page: Any, dpi: int) -> Any:
    width, height = page.get_size()
    scale = min(dpi / 72, (_MAX_PIXELS / max(1.0, width * height)) ** 0.5)
    with closing(page.render(scale=scale)) as bitmap:
        import numpy as np

        return np.array(bitmap.to_pil().convert("RGB"))
