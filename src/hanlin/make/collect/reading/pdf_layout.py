"""A PDF's lines become paragraphs: running headers and footers go, lines that only the page's width has cut are joined.

An engine returns lines as they stand on the page. A line is taken to go on in the next where it fills the width and
doesn't end a sentence; between Han characters no blank is put in. A hyphen at a line's end keeps its line end: whether
it belongs to the word is the normalise step's to decide.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Sequence

_EDGE_LINES = 3
"""Headers and footers stand among this many first and last lines of a page."""

_LEAST_PAGES = 3
_LEAST_SHARE = 1 / 3
"""Left and right pages often differ, so a header that stands on every second page must be known."""

_MAX_RUNNING_CHARS = 80
_FULL_SHARE = 0.85
"""Of the page's width: lines end before it where a word or an unbreakable sign would not fit."""

_SENTENCE_END = re.compile(r"[。！？!?.：:；;][」』”’）)\"']*$")
_MIDDLE = re.compile(r"[，、,（(]$")
_NEW_ITEM = re.compile(
    r"\s*(第[一二三四五六七八九十百零〇0-9０-９]+[章節條款項編篇](?=[\s：:]|$)"
    r"|[（(][一二三四五六七八九十0-9]{1,3}[)）]|[一二三四五六七八九十]{1,3}[、．.]"
    r"|\d{1,3}[.、)]\s|\d{1,3}(\.\d{1,3})+\s|[•●○■□◆※▪\-–—*]\s|[「『]?　)"
)
_NUMBER = re.compile(r"[0-9０-９]+")
_WIDE = ("W", "F")


def without_running_lines(pages: Sequence[Sequence[str]]) -> list[list[str]]:
    """The pages without the lines that stand at the top or the bottom of many. Numbers in them may differ; a line with
    a number that counts the pages needs only three, or none where most pages are counted so."""
    if len(pages) < _LEAST_PAGES:
        return [list(page) for page in pages]
    edges = [{page[place] for place in _edges(page)} for page in pages]
    seen = Counter(form for lines in edges for form in {_form(line) for line in lines})
    counting = Counter(key for index, lines in enumerate(edges) for key in {_counting(line, index) for line in lines})
    offsets = Counter(offset for index, lines in enumerate(edges) for offset in _offsets(lines, index))
    least = max(_LEAST_PAGES, _LEAST_SHARE * len(pages))

    def is_running(line: str, index: int) -> bool:
        if len(line) > _MAX_RUNNING_CHARS:
            return False
        key = _counting(line, index)
        if key is not None and counting[key] >= _LEAST_PAGES:
            return True
        if key is not None and offsets[key[1]] >= (_LEAST_PAGES if _is_number(line) else len(pages) / 2):
            return True
        return seen[_form(line)] >= least

    return [_stripped(page, index, is_running) for index, page in enumerate(pages)]


def paragraphs(pages: Sequence[Sequence[str]]) -> str:
    """The pages as one text, a paragraph a line. An empty line between lines stays one."""
    text = ""
    for page in pages:
        full = _FULL_SHARE * max(map(_width, page), default=0)
        before = ""
        for line in page:
            line = line.rstrip()
            if not line.strip():
                before = ""
                text += "" if text.endswith("\n\n") or not text else "\n"
                continue
            # Across a page's border nothing is known of the line before but that it ended the page.
            text = _joined(text, line, before, full) if before else _after_break(text, line)
            before = line
    return text


def _after_break(text: str, line: str) -> str:
    if not text:
        return line
    if text.endswith("\n") or _SENTENCE_END.search(text[-4:]) or _NEW_ITEM.match(line):
        return f"{text.rstrip(chr(10))}{chr(10) * 2 if text.endswith(chr(10)) else chr(10)}{line}"
    last = text[text.rfind("\n") + 1 :]
    return text + _joint(last, line) + line.lstrip() if _is_prose(last) else f"{text}\n{line}"


def _joined(text: str, line: str, before: str, full: float) -> str:
    goes_on = _width(before) >= full and _is_prose(before)
    if goes_on and _NEW_ITEM.match(line) and not _MIDDLE.search(before):
        return f"{text}\n{line}"
    if not goes_on or (_SENTENCE_END.search(before) and _width(before) < full / _FULL_SHARE * 0.97):
        return f"{text}\n{line}"
    return text + _joint(before, line) + line.lstrip()


def _is_prose(line: str) -> bool:
    """Whether a line can be cut by the page's width alone: a table's row or a heading is short, or has gaps."""
    return _width(line) >= 24 and "   " not in line.strip()


def _joint(before: str, line: str) -> str:
    if before.endswith(("-", "\u00ad", "\u2010")):
        return "\n"
    return "" if _is_wide(before[-1]) or _is_wide(line.lstrip()[0]) else " "


def _is_wide(character: str) -> bool:
    return unicodedata.east_asian_width(character) in _WIDE or character in "“”‘’…—"


def _width(line: str) -> int:
    """In half-width columns."""
    return sum(2 if unicodedata.east_asian_width(character) in _WIDE else 1 for character in line.strip())


def _form(line: str) -> str:
    return re.sub(r"\s+", "", re.sub(r"[0-9０-９]+|[一二三四五六七八九十百〇零]+(?=\s*頁)", "#", line))


def _edges(page: Sequence[str]) -> list[int]:
    places = [place for place, line in enumerate(page) if line.strip()]
    return sorted({*places[:_EDGE_LINES], *places[-_EDGE_LINES:]})


def _counting(line: str, index: int) -> tuple[str, int] | None:
    """(form, number − page's index) by the number at a line's end, else at its beginning, else its only one: equal on
    the pages that it counts."""
    numbers = _NUMBER.findall(line)
    if not numbers or (
        len(numbers) > 1 and not line.strip().startswith(numbers[0]) and not line.rstrip().endswith(numbers[-1])
    ):
        return None
    number = numbers[-1] if line.rstrip().endswith(numbers[-1]) else numbers[0]
    return (_form(line), int(number) - index) if len(number) < 6 else None


def _offsets(lines: set[str], index: int) -> set[int]:
    return {key[1] for line in lines if (key := _counting(line, index)) is not None}


def _is_number(line: str) -> bool:
    """Whether a line is a page's number alone: 12, - 12 -, 第12頁, Page 12."""
    return re.fullmatch(r"[-–—‧·.|/]*(第|page|p\.?)?#(頁|页)?[-–—‧·.|/]*", _form(line).lower()) is not None


def _stripped(page: Sequence[str], index: int, is_running: Callable[[str, int], bool]) -> list[str]:
    """Only unbroken runs of running lines at the edges go: in the middle of a page they may be text."""
    lines = list(page)
    for step in (-1, 0):
        for _ in range(_EDGE_LINES):
            while lines and not lines[step].strip():
                lines.pop(step)
            if lines and is_running(lines[step], index):
                lines.pop(step)
    return lines
