"""Telephone numbers of Taiwan (Ministry of Digital Affairs, 電信號碼使用計畫): mobiles 09xx-xxx-xxx, and land lines
whose length hangs on the area code. A subscriber's number never begins with 0 or 1. Free-phone numbers (0800, 0809)
and service numbers (110, 1922) are nobody's own and are left alone.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from hanlin.core.text.personal.context import digits_of, free, label
from hanlin.core.text.personal.match import Match

SUBSCRIBER_DIGITS = {
    "2": (8,), "3": (7,), "37": (6,), "4": (7, 8), "49": (7,), "5": (7,), "6": (7,), "7": (7,), "8": (7,), "82": (6,),
    "826": (5,), "836": (5,), "89": (6,),
}  # fmt: skip
"""Digits behind an area code, the leading 0 left out: 2 Taipei, 37 Miaoli, 49 Nantou, 82 Kinmen, 836 Matsu, 89
Taitung."""

_MOBILE = re.compile(
    r"(?:[+][ ]?886[ -]?(?:[(]0[)])?0?|[(][+]886[)][ -]?0?|00886[ -]?|886[ -]?|[(]?0)"
    r"(?:9[0-9]{2}(?:[)]?[ .-]?[0-9]{6}|[)]?[ .-][0-9]{3}[ .-][0-9]{3})"
    r"|9[0-9]{2}[ -][0-9]{2}[ -][0-9]{2}[ -][0-9]{2}|9[ -][0-9]{4}[ -]?[0-9]{4})"
)
LANDLINE = re.compile(
    r"(?:[+][ ]?886[ -]?[(]?0?|[(][+]886[)][ -]?[(]?0?|[(]?0)(?P<area>826|836|37|49|82|89|[2-8])(?P<after>[)]?[ -]?)"
    r"(?P<number>[2-9][0-9]{1,3}[ -]?[0-9]{2,4})"
    r"(?:[ ,]{0,2}(?:#|分機|轉|ext[.]?|x)[ :.]?[0-9]{1,6})?"
)
_LABEL = re.compile(
    "電話|手機|行動|聯絡|連絡|專線|傳真|撥打|來電|致電|洽詢|市話|住家|公司電|總機|打給|簡訊|號碼是|TEL|FAX|PHONE|MOBILE|CALL|CELL"
    r"|(?<![A-Z])[TFMH][:.]",
    re.IGNORECASE,
)


def mobiles(text: str) -> Iterator[Match]:
    for found in _MOBILE.finditer(text):
        labelled = label(text, found.start(), _LABEL)
        if labelled < 0 or not _alone(text, *found.span(), labelled > 0):
            continue
        if found[0].startswith("886") and not labelled:
            continue
        yield Match("mobile", found.start(), found.end(), 0.95 if labelled else 0.8)


def landlines(text: str) -> Iterator[Match]:
    """Undivided digits (0223456789) count only behind a label."""
    for found in LANDLINE.finditer(text):
        area, number = found["area"], digits_of(found["number"])
        if not _assigned(area, number):
            continue
        labelled = label(text, found.start(), _LABEL)
        divided = bool(found["after"]) or found[0].startswith(("+", "(+"))
        if labelled < 0 or not _alone(text, *found.span(), labelled > 0) or not (divided or labelled):
            continue
        yield Match("landline", found.start(), found.end(), 0.95 if labelled else 0.75)


def _assigned(area: str, number: str) -> bool:
    """Taipei's numbers begin with 2 to 8; Taichung's eight digits with 2 or 3, Changhua's seven with 7 or 8."""
    if len(number) not in SUBSCRIBER_DIGITS[area]:
        return False
    if area == "4":
        return number[0] in ("23" if len(number) == 8 else "78")
    return area != "2" or number[0] != "9"


def _alone(text: str, start: int, end: int, labelled: bool) -> bool:
    """Not a part of something longer; letters may stand before it where they are its label (TEL0912…)."""
    before = text[start - 1 : start]
    return free(text, start if not (labelled and before.isalpha()) else 0, end)
