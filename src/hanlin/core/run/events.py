"""A run's own log: one JSON object a line, append-only. Every viewer reads this file; no viewer's death harms a run."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Protocol

EVENTS_FILE = "events.jsonl"

Event = dict[str, Any]
Listener = Callable[[Event], None]


class Emit(Protocol):
    """What a room is handed to speak through: `emit("step", step=1, loss=9.0)`."""

    def __call__(self, kind: str, **fields: Any) -> None: ...


class EventLog:
    """Append events to `path` and pass each to the listeners (the terminal bar, a server-sent stream)."""

    def __init__(self, path: Path | None, listeners: tuple[Listener, ...] = ()):
        self._listeners = listeners
        self._file = None
        if path is not None:
            _drop_torn_line(path)
            self._file = path.open("a", encoding="utf-8")

    def __call__(self, kind: str, **fields: Any) -> None:
        event: Event = {"event": kind, "time": round(time.time(), 3), **fields}
        if self._file is not None:
            self._file.write(json.dumps(event, ensure_ascii=False) + "\n")
            self._file.flush()
        for listener in self._listeners:
            listener(event)

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None


def silent(kind: str, **fields: Any) -> None:
    """An Emit that says nothing."""


def read_events(path: Path, kind: str | None = None) -> Iterator[Event]:
    """Events of a log in order; a torn last line (killed while writing) is ignored."""
    if not path.exists():
        return
    with path.open("rb") as lines:
        for line in lines:
            if not line.endswith(b"\n"):
                return
            event = json.loads(line)
            if kind is None or event.get("event") == kind:
                yield event


def _drop_torn_line(path: Path) -> None:
    """A line cut by a kill would glue itself to the next event: cut the file after its last complete line."""
    if not path.exists():
        return
    with path.open("r+b") as log:
        data = log.read()
        if data and not data.endswith(b"\n"):
            log.truncate(data.rfind(b"\n") + 1)
