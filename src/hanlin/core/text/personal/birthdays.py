"""Dates of birth behind or before their label, in the calendar of the Republic (民國79年1月2日, 79.1.2, 0790102) or
the Common Era. Other dates stay: without the label a date is nobody's."""

from __future__ import annotations

import re
from collections.abc import Iterator

from hanlin.core.text.personal.match import Match

_HAN = "〇零○一二三四五六七八九十"
_WRITTEN = (
    r"(?:(?:中華)?民國 ?前? ?|西元 ?|公元 ?)?(?:[0-9]{1,4}|["
    + _HAN
    + r"百]{1,5}) ?年 ?(?:[0-9]{1,2}|["
    + _HAN
    + r"]{1,3}) ?月 ?"
    r"(?:[0-9]{1,2}|[" + _HAN + r"]{1,3}) ?日"
)
_SHORT = (
    r"(?:民國 ?)?[0-9]{2,4} ?(?P<mark>[./-]) ?[0-9]{1,2} ?(?P=mark) ?[0-9]{1,2}"
    r"|[0-9]{1,2}/[0-9]{1,2}/[0-9]{4}|0[0-9]{6}|1[01][0-9]{5}|(?:19|20)[0-9]{6}"
)
_AFTER_LABEL = re.compile(
    r"(?:出生年月日|出生日期|出 ?生 ?日|生日|出生(?:於|在)?|(?<![發產衍孳再先])生於|誕生於"
    r"|[Dd]ate of [Bb]irth|DOB|[Bb]irth(?:day|[ _]?[Dd]ate)|[Bb]orn(?: on)?)"
    r"(?: ?[(][^()\n]{1,8}[)])?[ :=|\t為是於在]{0,6}\n?(?P<date>" + _WRITTEN + "|" + _SHORT + r")(?![0-9])"
)
_DOTTED = r"(?:民國 ?)?[0-9]{2,4}[./-][0-9]{1,2}[./-][0-9]{1,2}"
_LABEL_AFTER = re.compile("[日0-9] ?(?:出生|誕生|生[,。;)、於 \n]|生$)")
_BEFORE_LABEL = re.compile(r"(?P<date>" + _WRITTEN + "|" + _DOTTED + r")\Z")
_REACH = 26


def birthdays(text: str) -> Iterator[Match]:
    behind = (
        _BEFORE_LABEL.search(text, max(0, found.start() - _REACH), found.start() + 1)
        for found in _LABEL_AFTER.finditer(text)
    )
    for found in (*_AFTER_LABEL.finditer(text), *filter(None, behind)):
        if _is_date(found["date"]):
            yield Match("birthday", *found.span("date"), 0.9)


def _is_date(date: str) -> bool:
    """Month and day can be (those in Han numerals are taken as they are)."""
    parts = [int(number) for number in re.findall("[0-9]+", date)]
    if len(parts) == 1 and parts[0] > 999:
        parts = [parts[0] // 10000, parts[0] // 100 % 100, parts[0] % 100]
    if len(parts) != 3:
        return "年" in date
    if parts[2] > 31:
        parts = [parts[2], parts[0], parts[1]]
    return 1 <= parts[1] <= 12 and 1 <= parts[2] <= 31
