"""Licence plates (Highway Bureau, 車輛號牌編碼): since 2012 ABC-1234 for cars and motorcycles, EAA-1234 for
electric ones; before, 1234-AB, AB-1234, A1-2345 for cars, ABC-123, 123-ABC for motorcycles, 123-AB for lorries.

Product names look the same (USB-3000), so a plate needs a word of vehicles nearby.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from hanlin.core.text.personal.context import OTHER_NUMBER, free, label
from hanlin.core.text.personal.match import Match

_PLATE = re.compile(
    r"(?:[A-Z]{3}[- ]?[0-9]{3,4}|[0-9]{3,4}[- ]?[A-Z]{2,3}|(?:[A-Z][0-9]|[0-9][A-Z])-[0-9]{4}"
    r"|[0-9]{4}-(?:[A-Z][0-9]|[0-9][A-Z])"
    r"|[A-Z]{2}[- ]?[0-9]{3,4}|[0-9]{3}-[A-Z]{3})(?![0-9A-Za-z])"
)
_BEFORE = re.compile(
    "車牌|車號|牌照|號牌|牌號|掛牌|懸掛|駕駛|騎乘|機車|汽車|自小客|貨車"
    "|轎車|計程車|休旅車|遊覽車|拖車|肇事車|愛車|停車|plate|PLATE|Plate"
)
_AFTER = re.compile(
    " ?(?:號|的|之)?(?:自用|營業|普通|輕型|重型|大型|小型|租賃|電動)*"
    "(?:小客車|小貨車|大客車|大貨車|機車|汽車|貨車|客車|轎車|計程車|自小客|自小貨|曳引車|車輛)"
)


def plates(text: str) -> Iterator[Match]:
    for found in _PLATE.finditer(text):
        if not free(text, *found.span()):
            continue
        before = label(text, found.start(), _BEFORE, OTHER_NUMBER)
        if before > 0 or (before == 0 and _AFTER.match(text, found.end())):
            yield Match("plate", found.start(), found.end(), 0.95)
