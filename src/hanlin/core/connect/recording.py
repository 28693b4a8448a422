"""Requests and their answers as JSON lines: asked once, answered from the file ever after.

A line: {"hash": …, "sample": 0, "request": {…}, "answer": {…} or "vectors": […]}. Neither addresses, headers nor keys
are in it.
"""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from hanlin.core.connect.answer import Answer, Call, Usage
from hanlin.core.connect.request import Request
from hanlin.core.run.errors import HanlinError

PAGE = "docs/connect.md#recording"
HIDDEN = "[key]"


class Recording:
    """record: new answers are written there. replay: answers come from there; what is not there is asked only where
    `record` is given too."""

    def __init__(self, record: Path | None, replay: Path | None, key: str = ""):
        self._record, self._replay, self._key = record, replay, key
        self._lock = threading.Lock()
        self._known: dict[tuple[str, int], dict[str, Any]] = {}
        self._asked: Counter[str] = Counter()
        if replay is not None:
            if not replay.exists() and record is None:
                raise HanlinError(
                    f"There is no recording {replay}.", "a file that record=… has written", f"record={replay}", PAGE
                )
            for line in _lines(replay):
                self._known.setdefault((line["hash"], line["sample"]), line)
        elif record is not None:
            self._asked.update(line["hash"] for line in _lines(record))

    @property
    def is_closed(self) -> bool:
        """Whether nothing may be asked that is not recorded."""
        return self._replay is not None and self._record is None

    def numbered(self, request: Request) -> Request:
        """With its number among the equal ones, in the order in which they are made."""
        with self._lock:
            sample = self._asked[request.hash]
            self._asked[request.hash] += 1
        return replace(request, sample=sample)

    def answer(self, request: Request) -> Answer | None:
        """The recorded one; None: ask. Raises HanlinError for what is not recorded, where nothing may be asked."""
        line = self._find(request)
        return None if line is None else _answer(line["answer"])

    def vectors(self, request: Request) -> list[list[float]] | None:
        line = self._find(request)
        return None if line is None else line["vectors"]

    def keep(self, request: Request, **result: Any) -> None:
        """Write an answer down (`answer=` an Answer, or `vectors=`), as one line that is whole or not there."""
        if self._record is None:
            return
        if isinstance(result.get("answer"), Answer):
            result["answer"] = {name: value for name, value in asdict(result["answer"]).items() if value}
        line = {"hash": request.hash, "sample": request.sample, "request": request.record, **result}
        text = json.dumps(line, ensure_ascii=False)
        if self._key:
            text = text.replace(self._key, HIDDEN)
        with self._lock:
            self._record.parent.mkdir(parents=True, exist_ok=True)
            _mend(self._record)
            with self._record.open("a", encoding="utf-8") as file:
                file.write(text + "\n")

    def _find(self, request: Request) -> dict[str, Any] | None:
        line = self._known.get((request.hash, request.sample))
        if line is None and self.is_closed:
            raise self._not_recorded(request)
        return line

    def _not_recorded(self, request: Request) -> HanlinError:
        times = sum(1 for known, _ in self._known if known == request.hash)
        asked = request.prompt or (str(request.messages[-1].get("content")) if request.messages else "")
        shown = asked or " ".join(request.texts)
        what = f"recorded {times} times, and this is time {request.sample + 1}" if times else "not recorded"
        return HanlinError(
            f"{self._replay}: {request.provider}:{request.model} asked {shown[:60]!r} is {what} ({request.hash[:12]}).",
            f"one of its {len(self._known):,} requests: the same model, messages, tools and settings",
            f"record={self._replay} beside replay={self._replay} asks what is missing and writes it down",
            PAGE,
        )


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    """The whole lines of a recording; none where there is no file. Raises HanlinError for a line that is none."""
    if not path.exists():
        return
    with path.open("rb") as lines:
        for number, line in enumerate(lines, start=1):
            if not line.endswith(b"\n"):  # cut while it was written
                return
            try:
                known = json.loads(line)
                if not (isinstance(known["hash"], str) and isinstance(known["sample"], int)):
                    raise ValueError
            except (ValueError, KeyError, TypeError):
                raise HanlinError(
                    f"{path}, line {number} is no recorded answer.",
                    '{"hash": …, "sample": …, "request": …, "answer": …}',
                    "remove the line, and record it again",
                    PAGE,
                ) from None
            yield known


def _mend(path: Path) -> None:
    """Cut off a last line that was not finished."""
    if not path.exists() or not path.stat().st_size:
        return
    with path.open("r+b") as file:
        file.seek(-1, 2)
        if file.read(1) != b"\n":
            file.seek(0)
            file.truncate(file.read().rfind(b"\n") + 1)


def _answer(values: dict[str, Any]) -> Answer:
    usage = Usage(**values["usage"]) if values.get("usage") else None
    calls = tuple(Call(**call) for call in values.get("calls", ()))
    kept = {name: values[name] for name in ("thought", "finish", "model", "origin") if name in values}
    return Answer(text=values.get("text", ""), calls=calls, usage=usage, **kept)
