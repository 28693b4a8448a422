"""Run one room: recognise finished work, lock, work in `out.partial`, seal with a manifest, rename."""

from __future__ import annotations

import importlib
import os
import platform
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from hanlin.core.run.artifact import (
    Artifact,
    Manifest,
    content_id,
    hash_files,
    is_artifact,
    open_artifact,
    read_manifest,
    write_manifest,
)
from hanlin.core.run.config import Config
from hanlin.core.run.errors import HanlinError, Interrupted, explain_os_error
from hanlin.core.run.events import EVENTS_FILE, Emit, EventLog, Listener, silent
from hanlin.core.run.ranks import is_first, launch, world_size

NEEDED_FREE_BYTES = 200 * 1024 * 1024


@dataclass(frozen=True)
class Result:
    """What a room's `run` returns: its files stand in `out`, these are the figures for the manifest.

    kind: of the artifact, where it is not the room's usual output.
    """

    metrics: dict[str, Any] = field(default_factory=dict)
    method: str = ""
    kind: str = ""


@dataclass(frozen=True)
class Room:
    """One line of the life cycle: which module works, what comes in (name → kinds), what goes out.

    `version` is part of every artifact's id: raise it when the room's output changes for equal options.
    together: whether all processes that torchrun started work in it; in other rooms the first works and the rest wait.
    """

    name: str
    module: str
    inputs: dict[str, tuple[str, ...]]
    output: str
    summary: str
    optional: frozenset[str] = frozenset()
    version: int = 1
    together: bool = False

    @property
    def config_class(self) -> type[Config]:
        return getattr(importlib.import_module(f"{self.module}.config"), self.name.title())

    @property
    def work(self) -> Callable[[Any, dict[str, Artifact], Path, Emit], Result]:
        return importlib.import_module(f"{self.module}.run").run


def execute(
    room: Room,
    config: Config,
    inputs: Mapping[str, Artifact],
    out: Path,
    listeners: tuple[Listener, ...] = (),
    replace: bool = False,
) -> Artifact:
    """Make `out` from `inputs`, or recognise that it exists. Raises HanlinError; a Ctrl-C becomes Interrupted.

    replace: an `out` of other options moves to `.history` (recipes); otherwise it is refused (single commands).
    """
    inputs = dict(inputs)
    resolved = config.model_dump(mode="json")
    wanted_id = content_id(room.name, room.version, config.identity(), inputs)
    if not is_first():
        return _follow(room, config, inputs, out, wanted_id)
    if existing := _finished(out, wanted_id, replace):
        for listener in listeners:
            listener({"event": "skipped", "room": room.name, "out": str(out), "id": wanted_id})
        return existing
    _refuse_inside(out, inputs)
    partial = out.with_name(out.name + ".partial")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        refuse_full_disk(out.parent)
        with _locked(partial):
            _prepare_partial(partial, wanted_id, room, resolved)
            result = _work(room, config, inputs, partial, listeners)
            _seal(partial, room, result, resolved, inputs, wanted_id)
            if is_artifact(out):
                _move_to_history(out)
            os.replace(partial, out)
    except OSError as error:
        raise explain_os_error(error, f"running {room.name}") from error
    return open_artifact(out, verify=False)


def _work(
    room: Room, config: Config, inputs: dict[str, Artifact], partial: Path, listeners: tuple[Listener, ...]
) -> Result:
    log = EventLog(partial / EVENTS_FILE, listeners)
    try:
        log("started", room=room.name, inputs={name: str(a.path) for name, a in inputs.items()}, out=str(partial))
        if world_size() > 1:
            _begun(partial).touch()
        result = room.work(config, inputs, partial, log)
        log("finished", room=room.name, metrics=result.metrics)
        return result
    except KeyboardInterrupt:
        log("interrupted", room=room.name)
        raise Interrupted(f"What {room.name} has finished is kept in {partial}.") from None
    except HanlinError as error:
        log("failed", room=room.name, error=str(error))
        raise
    finally:
        log.close()
        _begun(partial).unlink(missing_ok=True)


def _begun(partial: Path) -> Path:
    """The first process says by this file that the others may begin: the folder is ready, its log whole."""
    return partial.with_name(f".{partial.name}.{launch()}.begun")


def _follow(room: Room, config: Config, inputs: dict[str, Artifact], out: Path, wanted_id: str) -> Artifact:
    """What the other processes of a launch do: work along where the room is for all, and wait for the first to seal.
    Should it fail, torchrun ends them."""
    partial = out.with_name(out.name + ".partial")

    def sealed() -> bool:
        return is_artifact(out) and read_manifest(out).id == wanted_id

    parent = os.getppid()
    while not sealed() and not _begun(partial).exists():
        _rest(parent)
    if not sealed() and room.together:
        try:
            room.work(config, inputs, partial, silent)
        except KeyboardInterrupt:
            raise Interrupted(f"What {room.name} has finished is kept in {partial}.") from None
    while not sealed():
        _rest(parent)
    return open_artifact(out, verify=False)


def _rest(parent: int) -> None:
    """Wait a moment for the first process. Raises HanlinError where torchrun, which would end us, is gone itself."""
    time.sleep(0.05)
    if os.getppid() != parent:
        raise HanlinError(
            "torchrun is gone.", "it to watch over its processes", "run the same command again", "docs/scale.md"
        )


def _finished(out: Path, wanted_id: str, replace: bool) -> Artifact | None:
    if is_artifact(out):
        found = read_manifest(out)
        if found.id == wanted_id:
            return open_artifact(out)
        if not replace:
            raise HanlinError(
                f"{out} already holds a {found.kind} made with other options or inputs"
                f" (id {found.id[:8]}, wanted {wanted_id[:8]}).",
                "finished artifacts never change",
                f"choose another folder with out=…, or remove {out}",
                "docs/runs.md",
            )
    elif out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise HanlinError(
            f"{out} exists and is not an artifact.", "a new folder", "choose another folder with out=…", "docs/runs.md"
        )
    kept = _history_place(out, wanted_id)
    if replace and is_artifact(kept):
        if is_artifact(out):
            _move_to_history(out)
        os.replace(kept, out)
        return open_artifact(out)
    return None


def _refuse_inside(out: Path, inputs: Mapping[str, Artifact]) -> None:
    """A source that grows while it is read would hold its own log."""
    sources = (artifact.path for artifact in inputs.values() if artifact.kind == "source" and artifact.path.is_dir())
    if around := next((path for path in sources if out.resolve().is_relative_to(path.resolve())), None):
        raise HanlinError(
            f"{out} lies inside the source {around}.",
            "a folder for the result that is not itself read",
            "choose a folder outside of it with out=…, or give as sources only the folders that you mean",
            "docs/runs.md",
        )


def _history_place(out: Path, artifact_id: str) -> Path:
    return out.parent / ".history" / f"{out.name}-{artifact_id[:8]}"


def _move_to_history(out: Path) -> None:
    place = _history_place(out, read_manifest(out).id)
    place.parent.mkdir(exist_ok=True)
    if place.exists():
        shutil.rmtree(place)
    os.replace(out, place)


def _prepare_partial(partial: Path, wanted_id: str, room: Room, config: dict[str, Any]) -> None:
    """Keep an unfinished folder of the same id (it resumes); clear one of other options."""
    marker = partial / "config.yaml"
    stamp = f"# id: {wanted_id}\n"
    if marker.exists() and not marker.read_text(encoding="utf-8").startswith(stamp):
        shutil.rmtree(partial)
    partial.mkdir(exist_ok=True)
    if not marker.exists():
        import yaml

        body = yaml.safe_dump({"room": room.name, **config}, allow_unicode=True, sort_keys=False)
        marker.write_text(stamp + body, encoding="utf-8")


def _seal(
    partial: Path, room: Room, result: Result, config: dict[str, Any], inputs: dict[str, Artifact], artifact_id: str
) -> None:
    entries = [_input_entry(name, artifact) for name, artifact in inputs.items()]
    write_manifest(
        partial,
        Manifest(
            kind=result.kind or room.output,
            room=room.name,
            method=result.method,
            config=config,
            inputs=entries,
            files=hash_files(partial),
            metrics=result.metrics,
            version=room.version,
            id=artifact_id,
            environment=environment(),
        ),
    )


def _input_entry(name: str, artifact: Artifact) -> dict[str, str]:
    entry = {"name": name, "kind": artifact.kind, "id": artifact.id, "path": artifact.address or str(artifact.path)}
    return {**entry, "licence": artifact.licence} if artifact.licence else entry


def environment() -> dict[str, Any]:
    """What the result may depend on besides its inputs. Recorded, not part of the id."""
    packages = {}
    for name in ("hanlin", "torch", "numpy", "tokenizers", "safetensors"):
        try:
            packages[name] = version(name)
        except PackageNotFoundError:
            continue
    return {
        "python": platform.python_version(),
        "system": platform.platform(),
        "machine": machine_name(),
        "cpus": os.cpu_count(),
        **packages,
    }


def machine_name() -> str:
    """The processor's name as the system knows it."""
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def refuse_full_disk(folder: Path, needed_bytes: int | None = None) -> None:
    """Raises HanlinError where fewer bytes are free than the work needs; None: NEEDED_FREE_BYTES."""
    needed_bytes = NEEDED_FREE_BYTES if needed_bytes is None else needed_bytes
    free = shutil.disk_usage(folder).free
    if free < needed_bytes:
        raise HanlinError(
            f"Only {free / 2**20:.0f} MiB are free where {folder} stands.",
            f"at least {needed_bytes / 2**20:.0f} MiB, so that nothing is lost half-way",
            "free some space, or choose another disk with out=…",
            "docs/runs.md#disk",
        )


@contextmanager
def _locked(partial: Path) -> Iterator[None]:
    """One run a folder: the second is refused. The lock dies with its process, so a kill leaves nothing to clean."""
    lock_path = _lock_path(partial)
    with lock_path.open("a+") as lock:
        try:
            _lock_patiently(lock)
        except OSError:
            raise HanlinError(
                f"Another run is writing {partial} now.",
                "one run for each folder",
                "wait for it, or choose another folder with out=…",
                "docs/runs.md",
            ) from None
        try:
            yield
        finally:
            lock_path.unlink(missing_ok=True)


def _lock_patiently(lock: Any) -> None:
    """A viewer that looks whether the folder is being written holds the lock for an instant."""
    for _ in range(3):
        with suppress(OSError):
            return _lock_file(lock)
        time.sleep(0.05)
    _lock_file(lock)


def is_being_written(partial: Path) -> bool:
    """Whether a process holds the folder's lock now. Many may look at once; nobody is kept from anything but for that
    instant."""
    try:
        lock = _lock_path(partial).open("rb")
    except OSError:
        return False
    with lock:
        try:
            _lock_file(lock, shared=True)
        except OSError:
            return True
    return False


def _lock_path(partial: Path) -> Path:
    return partial.with_name(f".{partial.name}.lock")


def _lock_file(file: Any, shared: bool = False) -> None:
    if sys.platform == "win32":
        import msvcrt

        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
    else:
        import fcntl

        fcntl.flock(file, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
