"""What standard output can show, and lines printed on it."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterable

from hanlin.curves import Ink

NEEDED_CHARACTERS = "⣿│└─┤…▸"


def is_terminal() -> bool:
    return sys.stdout.isatty() and os.environ.get("TERM") != "dumb"


def terminal_ink() -> Ink:
    """Colours on a terminal unless NO_COLOR is set (https://no-color.org); braille where it can be encoded."""
    return Ink(is_terminal() and not os.environ.get("NO_COLOR"), can_encode(NEEDED_CHARACTERS))


def can_encode(text: str) -> bool:
    try:
        text.encode(sys.stdout.encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return False
    return True


def terminal_width() -> int:
    """Columns; 80 where nobody knows."""
    return shutil.get_terminal_size().columns


def print_lines(lines: Iterable[str]) -> None:
    """Characters that the output can't encode become question marks: a viewer does not fail for a letter."""
    encoding = sys.stdout.encoding or "utf-8"
    text = "\n".join(line.encode(encoding, "replace").decode(encoding) for line in lines)
    if not is_terminal():
        print(text)
        return
    from rich.console import Console
    from rich.text import Text

    # Rich speaks the language of old Windows consoles too.
    Console(highlight=False, soft_wrap=True).print(Text.from_ansi(text), soft_wrap=True)
