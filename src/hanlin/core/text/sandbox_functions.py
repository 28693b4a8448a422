"""What a chat template may call: Jinja's filters, tests, methods and operators, refused before they fill the memory.

Most of them make at most a few times what they are given, and what they are given has been measured. Those that
multiply (join, replace, indent, format, `*`, `**`) are looked at before they run; those no chat template needs are
gone.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Mapping
from functools import wraps
from typing import Any

from jinja2.utils import pass_eval_context

Check = Callable[[int], None]

UNUSED_FILTERS = frozenset(
    {"center", "filesizeformat", "pprint", "random", "striptags", "sum", "urlize", "wordwrap", "xmlattr"}
)
REFUSED_METHODS = frozenset(
    {"center", "encode", "expandtabs", "format_map", "from_bytes", "ljust", "maketrans", "rjust", "to_bytes"}
    | {"translate", "zfill"}
)
MAX_NUMBER = 100_000
"""The largest number a filter takes, and the longest range."""

MAX_BITS = 4096
MAX_INDENT = 16

_WIDE = re.compile(r"%[^a-zA-Z%]*(\d{4}|\*)|\{[^{}]*:[^{}]*(\d{4}|\{)")


class Explodes(Exception):
    """The template would run without end or fill the memory."""


def size(value: Any, limit: int) -> int:
    """Characters and elements of a value, a shared part counted as often as it would be printed; ends above `limit`."""
    if isinstance(value, str | range | bytes):
        return len(value)
    if isinstance(value, int):
        return value.bit_length() // 3 + 1
    if isinstance(value, Mapping):
        return 1 + _size_of_all((part for item in value.items() for part in item), limit)
    return 1 + (_size_of_all(value, limit) if isinstance(value, Collection) else 0)


def _size_of_all(parts: Any, limit: int) -> int:
    total = 0
    for part in parts:
        total += 1 + size(part, limit - total)
        if total > limit:
            break
    return total


def before_call(function: Any, args: tuple, check: Check) -> tuple:
    """Refuses a method of a text that would multiply it; the arguments to call with."""
    name = getattr(function, "__name__", "")
    text = getattr(getattr(function, "__wrapped__", function), "__self__", None)
    if not isinstance(text, str) or not args:
        return args
    if name == "join":
        parts = _joinable(text, args[0], check)
        return (parts, *args[1:])
    if name == "replace" and len(args) > 1:
        check(_replaced_chars(text, args[0], args[1]))
    if name == "format":
        _check_format(text, args, check)
    return args


def before_operator(operator: str, left: Any, right: Any, check: Check) -> None:
    if operator == "*":
        for many, times in ((left, right), (right, left)):
            if isinstance(many, Collection) and isinstance(times, int):
                check(size(many, 2**62) * max(times, 0))
    if isinstance(left, int) and isinstance(right, int):
        bits = {"*": left.bit_length() + right.bit_length(), "**": left.bit_length() * max(right, 0)}.get(operator, 0)
        if bits > MAX_BITS:
            raise Explodes("it computes a number without end")
    if operator == "%" and isinstance(left, str):
        _check_format(left, right, check)


def tojson(
    value: Any, ensure_ascii: bool = False, indent: Any = None, separators: Any = None, sort_keys: bool = False
) -> str:
    """As transformers gives it to templates: Chinese stays, nothing is escaped for HTML."""
    if (isinstance(indent, int) and indent > MAX_INDENT) or len(str(indent)) + len(str(separators)) > 4 * MAX_INDENT:
        raise Explodes("it asks for JSON with very wide white space")
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


class Counter:
    """Jinja's functions, each a step, its result measured."""

    def __init__(self, step: Callable[[], None], check: Check, measured: Callable[[Any], Any]):
        self.step, self.check, self.measured = step, check, measured

    def filters(self, known: Mapping[str, Callable]) -> dict[str, Callable]:
        kept = {name: function for name, function in known.items() if name not in UNUSED_FILTERS}
        kept |= {
            "tojson": tojson,
            "join": self._join(known["join"]),
            "replace": self._replace(known["replace"]),
            "indent": self._indent(known["indent"]),
            "format": self._format(known["format"]),
            **{name: _small_numbers(known[name]) for name in ("batch", "slice", "round", "truncate")},
        }
        return {name: self._counted(function) for name, function in kept.items()}

    def tests(self, known: Mapping[str, Callable]) -> dict[str, Callable]:
        return {name: self._counted(function) for name, function in known.items()}

    def _counted(self, function: Callable) -> Callable:
        @wraps(function)
        def counted(*args: Any, **kwargs: Any) -> Any:
            self.step()
            return self.measured(function(*args, **kwargs))

        return counted

    def _join(self, join: Callable) -> Callable:
        @pass_eval_context
        def checked(context: Any, value: Any, d: str = "", attribute: Any = None) -> Any:
            return join(context, _joinable(d, value, self.check), d, attribute)

        return checked

    def _replace(self, replace: Callable) -> Callable:
        @pass_eval_context
        def checked(context: Any, s: Any, old: Any, new: Any, count: Any = None) -> Any:
            self.check(_replaced_chars(str(s), old, new))
            return replace(context, s, old, new, count)

        return checked

    def _indent(self, indent: Callable) -> Callable:
        def checked(s: Any, width: Any = 4, *args: Any, **kwargs: Any) -> Any:
            self.check((str(s).count("\n") + 1) * (width if isinstance(width, int) else len(width)))
            return indent(s, width, *args, **kwargs)

        return checked

    def _format(self, format_text: Callable) -> Callable:
        def checked(value: Any, *args: Any, **kwargs: Any) -> Any:
            _check_format(str(value), (args, kwargs), self.check)
            return format_text(value, *args, **kwargs)

        return checked


def _small_numbers(function: Callable) -> Callable:
    @wraps(function)
    def checked(*args: Any, **kwargs: Any) -> Any:
        first = 2 if hasattr(function, "jinja_pass_arg") else 1
        for number in (*args[first:], *kwargs.values()):
            if isinstance(number, int) and abs(number) > MAX_NUMBER:
                raise Explodes(f"it asks a filter for {number:,}")
        return function(*args, **kwargs)

    return checked


def _joinable(separator: Any, parts: Any, check: Check) -> list:
    parts = list(parts)
    check(len(parts) * size(separator, 2**62) + size(parts, 2**62))
    return parts


def _replaced_chars(text: str, old: Any, new: Any) -> int:
    return len(text) + text.count(str(old)) * len(str(new))


def _check_format(text: str, values: Any, check: Check) -> None:
    """A placeholder may write the largest value, and not a width of its own choice."""
    if _WIDE.search(text):
        raise Explodes("it pads a text without end")
    placeholders = text.count("%") + text.count("{")
    check(len(text) + placeholders * size(values, 2**62))
