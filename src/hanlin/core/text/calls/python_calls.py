"""Calls written as Python: `weather(city="臺北", days=2)`. They are parsed, never run."""

from __future__ import annotations

import ast
import json
import warnings

MAX_CHARS = 20_000
"""Beyond these it is no call. Python's parser takes more, but not without end."""


def calls_in(code: str) -> list[tuple[str, str]]:
    """(name, arguments as JSON) of each call; several stand one a line or with commas between. A call may stand inside
    `print(…)`, as in Gemma's guide. Empty unless all of the code is calls whose arguments are named and constant."""
    if len(code) > MAX_CHARS:
        return []
    try:
        with warnings.catch_warnings(action="ignore"):  # of escapes in texts that Python doesn't know
            lines = ast.parse(code.strip()).body
        return [_call(node) for line in lines for node in _nodes(line)]
    except (SyntaxError, ValueError, TypeError, RecursionError, MemoryError):
        return []


def _nodes(line: ast.stmt) -> list[ast.expr]:
    if not isinstance(line, ast.Expr):
        raise ValueError("a statement")
    return list(line.value.elts) if isinstance(line.value, ast.Tuple | ast.List) else [line.value]


def _call(node: ast.expr) -> tuple[str, str]:
    if not isinstance(node, ast.Call):
        raise ValueError("no call")
    name = ast.unparse(node.func)
    if name == "print" and len(node.args) == 1 and not node.keywords:
        return _call(node.args[0])
    if node.args or not all(part.isidentifier() for part in name.split(".")):
        raise ValueError("arguments without names, or a call of something else than a name")
    arguments = {keyword.arg: ast.literal_eval(keyword.value) for keyword in node.keywords if keyword.arg is not None}
    if len(arguments) < len(node.keywords):
        raise ValueError("arguments without names, or twice")
    text = json.dumps(arguments, ensure_ascii=False, allow_nan=False)
    text.encode()
    return name, text
