"""Office files: Word documents, presentations, workbooks, as text in reading order.

.docx    python-docx: paragraphs and tables as they follow each other
.pptx    python-pptx: slides from top to bottom, with their notes
.xlsx    openpyxl, row by row: a sheet whose columns are those of a data set is rows (tables.py), any other a document
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import datetime, time
from itertools import chain, islice
from pathlib import Path
from typing import Any

from hanlin.core.text.documents import Row
from hanlin.make.collect.reading.parsers import needs, open_zip, parsing
from hanlin.make.collect.reading.reader import Reading
from hanlin.make.collect.reading.tables import layout_columns, rows_of_table
from hanlin.make.collect.reading.unpacking import Broken

SUFFIXES = (".docx", ".pptx", ".xlsx", ".xlsm")

_OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
"""Office wraps a file with a password in this older container; the formats before 2007 begin so, too."""

_W = "{http://schemas.openxmlformats.org/wordprocessingml/2006/main}"
_MC = "{http://schemas.openxmlformats.org/markup-compatibility/2006}"
_MAX_SHEET_CHARS = 50_000_000


def read(path: Path, name: str, reading: Reading) -> Iterator[Row]:
    suffix = "." + name.lower().rpartition(".")[2]
    if suffix in (".xlsx", ".xlsm"):
        needs("openpyxl", "documents", "Workbooks")
    else:
        needs("docx" if suffix == ".docx" else "pptx", "documents", "Office files")
    try:
        with path.open("rb") as file:
            if file.read(8) == _OLE:
                raise Broken("encrypted with a password, or in Office's format from before 2007")
        open_zip(path).close()
        if suffix in (".xlsx", ".xlsm"):
            yield from _workbook(path, name, reading)
            return
        with parsing():
            text = (_word if suffix == ".docx" else _slides)(path)
    except Broken as error:
        yield reading.unreadable(name, str(error))
        return
    if text:
        yield from reading.documents(name, text)
    else:
        yield reading.unreadable(name, "no text")


def _word(path: Path) -> str:
    import docx
    from docx.table import Table
    from docx.text.paragraph import Paragraph

    document = docx.Document(str(path))
    parts = []
    for element in _blocks(document.element.body):
        if element.tag == f"{_W}tbl":
            parts.append("\n".join(_word_row(row) for row in Table(element, document).rows))
        elif text := _paragraph(element):
            style = Paragraph(element, document._body).style
            is_heading = style is not None and (style.name or "").startswith(("Heading", "Title"))
            parts.append(("\n" if is_heading and parts else "") + text)
    return "\n".join(parts).strip()


def _blocks(element: Any) -> Iterator[Any]:
    """Paragraphs and tables, also those in content controls and tracked insertions."""
    for child in element:
        if child.tag in (f"{_W}p", f"{_W}tbl"):
            yield child
        elif child.tag in (f"{_W}sdt", f"{_W}sdtContent", f"{_W}ins", f"{_W}customXml"):
            yield from _blocks(child)


def _paragraph(element: Any) -> str:
    """What is seen of a paragraph: insertions as accepted, deletions as gone, and a text box once."""
    parts = []
    for node in element.iter(f"{_W}t", f"{_W}tab", f"{_W}br", f"{_W}cr"):
        if any(above.tag == f"{_MC}Fallback" for above in node.iterancestors()):
            continue
        parts.append(node.text or "" if node.tag == f"{_W}t" else "\t" if node.tag == f"{_W}tab" else "\n")
    return "".join(parts).strip()


def _word_row(row: Any) -> str:
    """Cells that are merged stand in a row once for each column; they are said once."""
    cells: list[Any] = []
    for cell in row.cells:
        if not cells or cell._tc is not cells[-1]._tc:
            cells.append(cell)
    return " | ".join(" ".join(cell.text.split()) for cell in cells).rstrip(" |")


def _slides(path: Path) -> str:
    import pptx

    slides = []
    for slide in pptx.Presentation(str(path)).slides:
        shapes = sorted(slide.shapes, key=lambda shape: (shape.top or 0, shape.left or 0))
        parts = list(chain.from_iterable(map(_shape, shapes)))
        if slide.has_notes_slide and (frame := slide.notes_slide.notes_text_frame) is not None and frame.text.strip():
            parts.append(frame.text.strip())
        if parts:
            slides.append("\n".join(parts))
    return "\n\n".join(slides)


def _shape(shape: Any) -> Iterator[str]:
    if shape.shape_type is not None and hasattr(shape, "shapes"):
        for inner in shape.shapes:
            yield from _shape(inner)
    elif getattr(shape, "has_table", False) and shape.has_table:
        for row in shape.table.rows:
            yield " | ".join(" ".join(cell.text.split()) for cell in row.cells)
    elif shape.has_text_frame and shape.text_frame.text.strip():
        # A line break within a paragraph is \v there.
        yield shape.text_frame.text.replace("\v", "\n").strip()


def _workbook(path: Path, name: str, reading: Reading) -> Iterator[Row]:
    """Rows of every sheet that is shown."""
    import openpyxl

    found = False
    with parsing():
        book = openpyxl.load_workbook(path, read_only=True, data_only=True, keep_links=False)
    with closing(book):
        for sheet in book.worksheets:
            if sheet.sheet_state != "visible":
                continue
            for row in _sheet(sheet, f"{name}#{sheet.title}", reading):
                found = True
                yield row
    if not found:
        yield reading.unreadable(name, "no text on any sheet")


def _sheet(sheet: Any, name: str, reading: Reading) -> Iterator[Row]:
    lines = _guarded(lambda: sheet.iter_rows(values_only=True))
    first = list(islice(lines, 1))
    columns = [_cell(value) for value in first[0]] if first else []
    if layout_columns(columns):
        numbered = ((number, [_cell(value) for value in line]) for number, line in enumerate(lines, start=2))
        yield from rows_of_table(columns, (item for item in numbered if any(item[1])), name, name, reading, word="row")
        return
    parts, size = [], 0
    for line in chain(first, lines):
        text = " | ".join(cell for cell in map(_cell, line) if cell)
        size += len(text)
        if size > _MAX_SHEET_CHARS:
            raise Broken(f"a sheet of over {_MAX_SHEET_CHARS:,} characters; save it as .csv, which is read row by row")
        if text:
            parts.append(text)
    if parts:
        yield from reading.documents(name, "\n".join(parts), type="table")


def _guarded(make: Callable[[], Iterator[Any]]) -> Iterator[Any]:
    """The library's iterator, each step of it guarded, so that the reader's own errors stay what they are."""
    with parsing():
        iterator = iter(make())
    while True:
        with parsing():
            try:
                item = next(iterator)
            except StopIteration:
                return
        yield item


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        value = int(value)
    if isinstance(value, datetime) and value.time() == time():
        value = value.date()
    return " ".join(str(value).split()) if not isinstance(value, str) else value.strip()
