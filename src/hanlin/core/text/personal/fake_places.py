"""A made-up door in the same county and township: road, section, lane, number and floor are drawn anew."""

from __future__ import annotations

import re
from collections.abc import Callable

from hanlin.core.text.personal.addresses import COUNTY
from hanlin.core.text.personal.draw import Draw
from hanlin.core.text.personal.numerals import han, number_of
from hanlin.core.text.personal.words import words

_HEAD = re.compile(
    f"(?P<postcode>[(]?[0-9]{{3,6}}[)]? ?)?"
    f"(?P<place>{COUNTY}? ?(?:[前左平]鎮區|新市區|[\u4e00-\u9fff]{{1,3}}?[區鄉鎮市])?)"
)
_PIECE = re.compile(
    "(?P<number>[0-9]+|[〇零○一二三四五六七八九十百千]+(?= ?[鄰段巷弄衖號樓之-]|$))"
    "|(?P<road>(?:(?![里村鄰])[\u4e00-\u9fff]){1,5}?(?=大道|路|街))"
    "|(?P<village>[\u4e00-\u9fff]{1,3}(?=[村里]))|(?P<lane>(?:(?![里村鄰])[\u4e00-\u9fff]){2,4}(?=巷))"
)


def fake_address(original: str, draw: Callable[..., Draw]) -> str:
    """`original` folded. Numbers keep their length and script; a section is 1 to 5, a floor at most 12."""
    d = draw(original.replace(" ", "").replace("台", "臺"))
    head = _HEAD.match(original)
    assert head is not None
    postcode = re.sub("[0-9]", lambda _: d.digits(1), (head["postcode"] or "")[3:])
    postcode = (head["postcode"] or "")[:3] + postcode

    def piece(found: re.Match[str]) -> str:
        if found["road"]:
            return d.one_of(words("roads"))
        if found["village"]:
            return d.one_of(words("villages"))
        if found["lane"]:
            return d.one_of(words("roads"))
        return _number(found["number"], original_after(found), d)

    def original_after(found: re.Match[str]) -> str:
        return found.string[found.end() :].lstrip()[:1]

    return postcode + head["place"] + _PIECE.sub(piece, original[head.end() :])


def _number(old: str, unit: str, d: Draw) -> str:
    value = number_of(old)
    if unit == "段":
        new = 1 + d.below(5)
    elif unit in ("樓", "F", "f"):
        new = 1 + d.below(9) if value < 10 else 10 + d.below(3)
    else:
        low = 10 ** (len(str(value)) - 1)
        new = max(1, low + d.below(9 * low))
    return str(new).zfill(len(old) if old.startswith("0") else 0) if old.isdigit() and old.isascii() else han(new)
