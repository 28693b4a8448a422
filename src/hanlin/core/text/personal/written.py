"""The letters and digits of a value, and a new value written the way the old one was: blanks, hyphens, width,
case."""

from __future__ import annotations

from hanlin.core.text.personal.folding import fold


def plain(text: str) -> str:
    """ASCII letters and digits alone, in capitals: what makes two writings the same value."""
    return "".join(char for char in fold(text) if char.isascii() and char.isalnum()).upper()


def as_written(made: str, original: str) -> str:
    """`made` with the separators of `original` where it is as many letters and digits; else with its width alone."""
    folded = fold(original)
    slots = [char for char in folded if char.isascii() and char.isalnum()]
    if made.isascii() and made.isalnum() and len(slots) == len(made):
        characters = iter(made)
        made = "".join(_cased(next(characters), char) if char.isascii() and char.isalnum() else char for char in folded)
        return "".join(
            old if new == was else _wide(new) if old != was else new for new, was, old in zip(made, folded, original)
        )
    wide = any("\uff10" <= char <= "\uff5a" for char in original)
    return "".join(map(_wide, made)) if wide else made


def _cased(char: str, like: str) -> str:
    return char.lower() if like.islower() else char


def _wide(char: str) -> str:
    """The full-width form of an ASCII letter, digit or sign."""
    return chr(ord(char) + 0xFEE0) if "!" <= char <= "~" else char
