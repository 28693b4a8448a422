"""Han numerals up to some thousands: 七十九 and 七九 are 79."""

from __future__ import annotations

DIGITS = "〇一二三四五六七八九"
_UNITS = {"十": 10, "百": 100, "千": 1000}


def number_of(text: str) -> int:
    """Of ASCII digits or Han numerals, with units (二百三十) or digit by digit (一九九〇)."""
    if text.isdecimal():
        return int(text)
    if not any(char in _UNITS for char in text):
        return int("".join(str(_digit(char)) for char in text) or 0)
    total = digit = 0
    for char in text:
        if char in _UNITS:
            total += (digit or 1) * _UNITS[char]
            digit = 0
        else:
            digit = _digit(char)
    return total + digit


def han(number: int) -> str:
    """With units: 230 → 二百三十."""
    if number < 20:
        return ("十" if number >= 10 else "") + (DIGITS[number % 10] if number % 10 or number == 0 else "")
    for unit, size in (("千", 1000), ("百", 100), ("十", 10)):
        if number >= size:
            rest = number % size
            zero = "零" if rest and rest < size // 10 else ""
            more = "" if not rest else DIGITS[1] + han(rest) if 10 <= rest < 20 and size > 10 else han(rest)
            return DIGITS[number // size] + unit + zero + more
    raise AssertionError(number)


def han_digits(number: int) -> str:
    """Digit by digit: 1990 → 一九九〇."""
    return "".join(DIGITS[int(digit)] for digit in str(number))


def _digit(char: str) -> int:
    return 0 if char in "零○〇" else DIGITS.index(char)
