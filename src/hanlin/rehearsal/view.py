"""What a person sees of a rehearsal: a line for each stage, a moving one for the stage under way on a terminal."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

from hanlin.columns import one_line, pad
from hanlin.output import can_encode, is_terminal, print_lines, terminal_ink

MARKS, PLAIN_MARKS = "✓✗–", "+!-"
"""Passed, failed, left out."""

GREEN, RED, GREY = "32", "1;31", "2"


class View:
    """step_width: of the column of step names."""

    def __init__(self, step_width: int):
        self.step_width = step_width
        self._ink = terminal_ink()
        self._passed, self._failed, self._left_out = [*(MARKS if can_encode(MARKS) else PLAIN_MARKS)]

    @contextmanager
    def working(self, step: str, stage: str) -> Iterator[None]:
        with _spinner(f"{step}: {stage}"):
            yield

    def passed(self, step: str, stage: str, seconds: float, found: str) -> None:
        self._line(self._passed, GREEN, step, stage, f"{seconds:5.1f} s", found)

    def failed(self, step: str, stage: str, seconds: float, error: str) -> None:
        first, *rest = error.split("\n")
        self._line(self._failed, RED, step, stage, f"{seconds:5.1f} s", first)
        self.say(*(f"     {line}" for line in rest))

    def left_out(self, step: str, stage: str, reason: str) -> None:
        self._line(self._left_out, GREY, step, stage, "       ", reason)

    def notes(self, texts: Iterable[str]) -> None:
        for text in texts:
            self.say(f"     note: {one_line(text)}")

    def say(self, *lines: str) -> None:
        print_lines(lines)
        sys.stdout.flush()

    def _line(self, mark: str, colour: str, step: str, stage: str, seconds: str, text: str) -> None:
        begun = f"{pad(step, self.step_width)}  {stage:<9}"
        self.say(f"{self._ink.paint(mark, colour)} {begun} {seconds}  {one_line(text)}")


def _spinner(text: str) -> Any:
    if not is_terminal():
        return nullcontext()
    from rich.console import Console

    return Console().status(text)
