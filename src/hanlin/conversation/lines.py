"""What a person types: a line or several, with the arrow keys' history."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from types import ModuleType

from hanlin.conversation.screen import QUESTION
from hanlin.core.run.errors import HanlinError

BLOCK = '"""'
"""Begins and ends a question of several lines."""
MORE = "… "


class Lines:
    """history: a file that keeps questions, a JSON text a line; None keeps them as long as this object."""

    def __init__(self, history: Path | None = None):
        self._history = history
        self._readline = _readline() if sys.stdin.isatty() else None
        for question in _kept(history) if history is not None else ():
            self._add(question)

    def ask(self, text: str = "") -> str:
        """The next line, or lines; "" at the end. text: stands there already, to be changed.

        Ctrl-C takes back what was typed; twice, it ends.
        """
        for _ in range(2):
            try:
                line = self._line(QUESTION, text)
                line = self._block(line) if line.startswith(BLOCK) else line
            except EOFError:
                break
            except KeyboardInterrupt:
                print()
                continue
            if line:
                self._add(line)
            return line
        return ""

    def keep(self, question: str) -> None:
        """Put what was asked into the file, if there is one; nobody else may read it."""
        if self._history is not None:
            self._history.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(self._history, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
            with os.fdopen(descriptor, "a", encoding="utf-8") as file:
                file.write(json.dumps(question, ensure_ascii=False) + "\n")

    def _block(self, line: str) -> str:
        """Up to the line that ends it."""
        lines = [line.removeprefix(BLOCK)]
        while not lines[-1].endswith(BLOCK):
            lines.append(self._line(MORE))
        lines[-1] = lines[-1].removesuffix(BLOCK)
        return "\n".join(lines).strip()

    def _line(self, prompt: str, text: str = "") -> str:
        if self._readline is not None and text:
            insert = self._readline.insert_text
            self._readline.set_startup_hook(lambda: insert(text))
        try:
            typed = input(prompt)
        finally:
            if self._readline is not None:
                self._readline.set_startup_hook(None)
        return typed.encode(errors="surrogateescape").decode(errors="replace").strip()

    def _add(self, line: str) -> None:
        if self._readline is not None:
            self._readline.add_history(line)


def _readline() -> ModuleType | None:
    """Not every system has it; then a line is typed without history."""
    try:
        import readline
    except ImportError:
        return None
    readline.set_auto_history(False)
    return readline


def _kept(history: Path) -> list[str]:
    try:
        lines = history.read_text(encoding="utf-8").splitlines() if history.exists() else []
        questions = [json.loads(line) for line in lines]
    except (OSError, ValueError) as error:
        raise HanlinError(
            f"{history} is not readable as a history ({error}).",
            "a file that hanlin chat wrote, or a new one",
            "history=… with another name",
            "docs/chat.md",
        ) from None
    return [question for question in questions if isinstance(question, str)]
