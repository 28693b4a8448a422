"""Labels around a number: what stands before it decides what it is."""

from __future__ import annotations

import re

OTHER_NUMBER = re.compile(
    r"訂單|單號|(?<!統一)(?<!證)編號|案號|ISBN|ISSN|型號|序號|料號|貨號|批號|流水號|發票號碼|[第笫] ?\Z|條碼|版本"
    "|order|serial|invoice|sku|tracking|p/n|commit|build|version|timestamp",
    re.IGNORECASE,
)
"""Labels of numbers that are nobody's: what follows them is no identity, however it looks."""

REACH = 14
"""Characters before a number in which its label is looked for."""


def label(text: str, start: int, words: re.Pattern[str], others: re.Pattern[str] = OTHER_NUMBER) -> int:
    """1 if the nearest label before text[start] is one of `words`, −1 if it is one of `others`, 0 if there is
    none."""
    begin = max(0, start - REACH)
    mine, other = _last(words, text, begin, start), _last(others, text, begin, start)
    return 0 if mine == other == -1 else 1 if mine >= other else -1


def free(text: str, start: int, end: int) -> bool:
    """text[start:end] is not a part of a longer number or word: "A" + "123…", "1-" + "234…", "0." + "912…"."""
    before, after = text[start - 1 : start], text[end : end + 1]
    if (before.isascii() and before.isalnum()) or (after.isascii() and after.isalnum()) or before in ("_", "/"):
        return False
    if (
        before in ("-", ".", "+", "=")
        and text[start - 2 : start - 1].isascii()
        and text[start - 2 : start - 1].isdigit()
    ):
        return False
    return not (after in ("-", ".") and text[end + 1 : end + 2].isascii() and text[end + 1 : end + 2].isdigit())


def digits_of(text: str) -> str:
    return "".join(char for char in text if char.isdigit())


def _last(words: re.Pattern[str], text: str, begin: int, end: int) -> int:
    """Where the last of these words ends, −1 if there is none."""
    return max((found.end() for found in words.finditer(text, begin, end)), default=-1)
