"""One stage after the other, each in a process of its own; a failure is noted, and the rehearsal goes on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from hanlin.core.run.events import EVENTS_FILE, read_events
from hanlin.rehearsal.apart import Ended, apart
from hanlin.rehearsal.view import View


class Stages:
    """output: the file to which processes print. failures: "step: stage" of each. peak_bytes, peak_of: the most memory
    of all stages, and which it was."""

    def __init__(self, view: View, output: Path):
        self.view, self.output = view, output
        self.failures: list[str] = []
        self.peak_bytes, self.peak_of = 0, ""
        self._told: set[str] = set()

    def run(
        self,
        step: str,
        stage: str,
        function: Callable[..., Any],
        *arguments: Any,
        tell: Callable[[Any], str] | None,
    ) -> Any | None:
        """What the function returned, None where it failed. tell: what was found, in a few words; None: not a line
        unless it fails."""
        ended = self.end(step, stage, function, *arguments)
        if ended.error:
            self.fail(step, stage, ended.error, ended.seconds)
        elif tell is not None:
            self.view.passed(step, stage, ended.seconds, tell(ended.value))
        return ended.value

    def end(self, step: str, stage: str, function: Callable[..., Any], *arguments: Any) -> Ended:
        """How the function ended, without a word about it."""
        with self.view.working(step, stage):
            ended = apart(function, *arguments, output=self.output)
        if ended.peak_bytes > self.peak_bytes:
            self.peak_bytes, self.peak_of = ended.peak_bytes, f"{step}: {stage}"
        return ended

    def fail(self, step: str, stage: str, error: str, seconds: float = 0.0) -> None:
        self.failures.append(f"{step}: {stage}")
        self.view.failed(step, stage, seconds, error)

    def notes(self, texts: Sequence[str]) -> None:
        """Each said once in a rehearsal."""
        new = [text for text in dict.fromkeys(texts) if text not in self._told]
        self._told.update(new)
        self.view.notes(new)


def notes_of(folder: Path) -> list[str]:
    """What a room had to say in its log."""
    return [event["text"] for event in read_events(folder / EVENTS_FILE, "note")]
