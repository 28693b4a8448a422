"""One run as its folder tells it, in whatever state: finished, being written now, interrupted, failed or killed."""

from __future__ import annotations

import difflib
import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from hanlin.core.run.artifact import is_artifact, read_manifest
from hanlin.core.run.errors import HanlinError
from hanlin.core.run.events import EVENTS_FILE, Event, read_events
from hanlin.core.run.execute import is_being_written
from hanlin.report.history import History, read_history
from hanlin.rooms import ROOMS

PARTIAL = ".partial"
PROGRESS_FILE = "progress.json"
"""What a finished checkpoint holds."""

State = Literal["finished", "running", "interrupted", "failed", "unfinished"]

_STEP_LINE = b'{"event": "step"'


@dataclass(frozen=True)
class Record:
    """`config`: every option. `inputs`: name, kind, id and path, as far as they are known. `reason`: of a failure."""

    path: Path
    state: State
    room: str
    kind: str
    config: dict[str, Any]
    inputs: tuple[dict[str, str], ...]
    metrics: dict[str, Any]
    events: tuple[Event, ...]
    method: str = ""
    id: str = ""
    reason: str = ""

    def history(self) -> History:
        return read_history(self.events)

    @property
    def progress(self) -> float | None:
        """Share of the training that is done; None where nothing is trained (yet)."""
        last = next((e for e in reversed(self.events) if e.get("event") == "step"), None)
        return 1.0 if self.state == "finished" else (last.get("progress") if last else None)

    @property
    def seconds(self) -> float:
        """Time at work, over all sessions of an interrupted run."""
        return sum(last - first for first, last in sessions(self.events))

    @property
    def given(self) -> list[tuple[str, Any, Any]]:
        """(name, value, default) of the options that are not the room's defaults."""
        default = flat(ROOMS[self.room].config_class().model_dump(mode="json")) if self.room in ROOMS else {}
        own = flat(self.config)
        return [(name, value, default.get(name)) for name, value in own.items() if value != default.get(name)]


def sessions(events: tuple[Event, ...]) -> list[tuple[float, float]]:
    """(first, last) time of each stretch of work: every `started` begins one."""
    found: list[tuple[float, float]] = []
    for event in events:
        if event["event"] == "started" or not found:
            found.append((event["time"], event["time"]))
        else:
            found[-1] = (found[-1][0], event["time"])
    return found


def flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """{"train": {"steps": 5}} → {"train.steps": 5}"""
    leaves: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, Mapping) and value:
            leaves |= flat(value, f"{prefix}{name}.")
        else:
            leaves[prefix + name] = value
    return leaves


# ── where runs are ────────────────────────────────────────────────────────────────────────────────────────────────


def is_run(path: Path) -> bool:
    return is_artifact(path) or (path.name.endswith(PARTIAL) and path.is_dir())


def runs_below(folder: Path) -> Iterator[Path]:
    """Finished and unfinished runs, in the order of their paths; what is hidden (`.history`) is left out."""
    if is_run(folder):
        yield folder
        return
    for place, folders, _ in os.walk(folder):
        folders[:] = sorted((name for name in folders if not name.startswith(".")), key=_natural)
        for name in [name for name in folders if is_run(Path(place, name))]:
            folders.remove(name)
            yield Path(place, name)


def _natural(name: str) -> list[tuple[int, str]]:
    """run-2 before run-10"""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", name)]


def find_run(path: Path, command: str = "hanlin runs show") -> Path:
    """The run that a person means: the path itself, or its unfinished folder. Raises HanlinError naming a near one."""
    if is_run(path):
        return path
    unfinished = path.with_name(path.name + PARTIAL) if path.name else path
    if is_run(unfinished):
        return unfinished
    below = list(runs_below(path)) if path.is_dir() else []
    if below:
        raise HanlinError(
            f"{path} is a folder of {len(below)} runs." if len(below) > 1 else f"{path} is a folder with a run in it.",
            f"one run, such as {below[-1]}",
            f"{command} {below[-1]}",
            "docs/runs.md",
        )
    near = _near(path)
    what = f"{path} is not a run." if path.exists() else f"There is no run {path}."
    raise HanlinError(
        what,
        f'did you mean "{near}"?' if near else "the path of a finished run, or of an unfinished NAME.partial",
        f"{command} {near}" if near else "hanlin runs list",
        "docs/runs.md",
    )


def find_runs(paths: Sequence[Path]) -> list[Path]:
    """At least two different runs to compare."""
    found = list(dict.fromkeys(find_run(path, "hanlin runs compare") for path in paths))
    if len(found) < 2:
        raise HanlinError(
            f"There is nothing to compare {found[0]} with." if found else "There is nothing to compare.",
            "two runs or more",
            f"hanlin runs compare {found[0] if found else 'A'} OTHER",
            "docs/runs.md",
        )
    return found


def _near(path: Path) -> Path | None:
    """A run of that name elsewhere, or of nearly that name in the same folder or under runs/."""
    folders = [folder for folder in (path.parent, Path("runs")) if folder.is_dir()]
    known = [run for folder in folders[: 1 if path.parent != Path() else 2] for run in runs_below(folder)]
    names = {_name(run): run for run in reversed(known)}
    wanted = path.name.removesuffix(PARTIAL)
    close = difflib.get_close_matches(wanted, names, n=1, cutoff=0.5)
    return names[wanted] if wanted in names else (names[close[0]] if close else None)


def _name(run: Path) -> str:
    return run.name.removesuffix(PARTIAL)


# ── what a folder says ────────────────────────────────────────────────────────────────────────────────────────────


def read_record(path: Path, every_step: bool = True) -> Record:
    """every_step: False keeps of the steps only the last of each stretch, which is enough for a list, and quick."""
    events = tuple(_events(path / EVENTS_FILE, every_step))
    if is_artifact(path):
        m = read_manifest(path)
        return Record(path, "finished", m.room, m.kind, m.config, tuple(m.inputs), m.metrics, events, m.method, m.id)
    room, config, artifact_id = _read_config(path / "config.yaml", events)
    state, reason = _state(path, events)
    return Record(
        path,
        state,
        room,
        ROOMS[room].output if room in ROOMS else "",
        config,
        _started_with(events),
        {},
        events,
        str(config.get("method") or ""),
        artifact_id,
        reason,
    )


def _events(path: Path, every_step: bool) -> Iterator[Event]:
    try:
        yield from read_events(path) if every_step else _few_events(path)
    except ValueError as error:
        raise HanlinError(
            f"{path} has a line that is not JSON ({error}).",
            "one JSON object a line; only the last line may be torn",
            f"remove that line from {path}; nothing else depends on it",
            "docs/runs.md",
        ) from None


def _few_events(path: Path) -> Iterator[Event]:
    """Everything but the steps, and of each stretch of steps the last: most of a long log is never parsed."""
    if not path.exists():
        return
    last_step = b""
    with path.open("rb") as lines:
        for line in lines:
            if not line.endswith(b"\n"):
                break
            if line.startswith(_STEP_LINE):
                last_step = line
                continue
            if last_step:
                yield json.loads(last_step)
                last_step = b""
            yield json.loads(line)
    if last_step:
        yield json.loads(last_step)


def _read_config(path: Path, events: tuple[Event, ...]) -> tuple[str, dict[str, Any], str]:
    """(room, options, id) of an unfinished run."""
    import yaml

    started = next((e for e in reversed(events) if e.get("event") == "started"), {})
    try:
        text = path.read_text(encoding="utf-8")
        values = yaml.safe_load(text)
    except (OSError, yaml.YAMLError):
        return started.get("room", ""), {}, ""
    if not isinstance(values, dict):
        return started.get("room", ""), {}, ""
    head = text.partition("\n")[0]
    return values.pop("room", ""), values, head.removeprefix("# id: ") if head.startswith("# id: ") else ""


def _state(path: Path, events: tuple[Event, ...]) -> tuple[State, str]:
    if is_being_written(path):
        return "running", ""
    for event in reversed(events):
        kind = event.get("event")
        if kind == "failed":
            return "failed", str(event.get("error", "")).partition("\n")[0]
        if kind == "interrupted":
            return "interrupted", ""
        if kind == "started":
            break
    return "unfinished", ""


def _started_with(events: tuple[Event, ...]) -> tuple[dict[str, str], ...]:
    """Paths alone: ids and kinds are written when the run is sealed."""
    started = next((e for e in reversed(events) if e.get("event") == "started"), {})
    return tuple({"name": name, "path": path} for name, path in started.get("inputs", {}).items())


@dataclass(frozen=True)
class Checkpoint:
    name: str
    step: int
    bytes: int


def checkpoints(path: Path) -> list[Checkpoint]:
    """What an unfinished run would go on from."""
    found = []
    for progress in sorted(path.glob(f"*/{PROGRESS_FILE}")):
        try:
            step = int(json.loads(progress.read_text(encoding="utf-8"))["step"])
            size = sum(file.stat().st_size for file in progress.parent.iterdir())
        except (OSError, ValueError, KeyError, TypeError):  # the run replaces it at this moment
            continue
        if not progress.parent.name.endswith(".tmp"):
            found.append(Checkpoint(progress.parent.name, step, size))
    return found
