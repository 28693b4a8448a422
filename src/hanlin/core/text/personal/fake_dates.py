"""A made-up day of birth in the same ten years, written in the same calendar and form."""

from __future__ import annotations

import re
from collections.abc import Callable

from hanlin.core.text.personal.draw import Draw
from hanlin.core.text.personal.numerals import han, han_digits, number_of

_NUMBER = re.compile("[0-9]+|[〇零○一二三四五六七八九十百]+")
_FIRST_YEAR = 1911
"""民國 1 is 1912."""


def fake_date(original: str, draw: Callable[..., Draw]) -> str:
    """`original` folded: three numbers with something between, or seven or eight digits."""
    spans = [found.span() for found in _NUMBER.finditer(original)]
    if len(spans) == 1:
        begin, end = spans[0]
        spans = [(begin, end - 4), (end - 4, end - 2), (end - 2, end)]
    parts = [original[begin:end] for begin, end in spans[:3]]
    # 01/02/1990 has its year last.
    last = number_of(parts[2]) > 31
    year = number_of(parts[2] if last else parts[0])
    month_and_day = map(number_of, parts[:2] if last else parts[1:])
    d = draw(year + _FIRST_YEAR if year < 200 else year, *month_and_day)
    drawn = [year - year % 10 + d.below(10) or 1, 1 + d.below(12), 1 + d.below(28)]
    numbers = [drawn[1], drawn[2], drawn[0]] if last else drawn
    made, end = "", 0
    for (begin, stop), old, new in zip(spans, parts, numbers):
        made += original[end:begin] + _like(old, new, padded="年" not in original)
        end = stop
    return made + original[end:]


def _like(old: str, new: int, padded: bool) -> str:
    if old.isdecimal():
        return str(new).zfill(len(old)) if padded or old.startswith("0") else str(new)
    by_digits = len(old) > 1 and not any(unit in old for unit in "十百")
    return han_digits(new) if by_digits else han(new)
