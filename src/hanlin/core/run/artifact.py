"""Artifacts: folders with a manifest. The manifest is written last, so a folder that has one is whole."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from hanlin.core.run.errors import HanlinError

FORMAT = 1
MANIFEST_FILE = "manifest.json"
UNHASHED = {MANIFEST_FILE, "events.jsonl"}
"""The log is append-only and carries times, so it is not part of what is sealed."""


@dataclass(frozen=True)
class Manifest:
    """What an artifact is and where it came from."""

    kind: str
    room: str
    method: str
    config: dict[str, Any]
    inputs: list[dict[str, str]]
    files: dict[str, str]
    metrics: dict[str, Any]
    version: int
    id: str
    environment: dict[str, Any] = field(default_factory=dict)
    format: int = FORMAT


@dataclass(frozen=True)
class Artifact:
    """A finished folder (or, with kind "source", outside data that an artifact was made from).

    stamp: of a source's files as they were when `id` was taken (see sources.stamp_of); "" where nobody else writes them
    """

    path: Path
    kind: str
    id: str
    manifest: Manifest | None = None
    address: str = ""
    licence: str = ""
    stamp: str = ""

    def file(self, name: str) -> Path:
        return self.path / name


def content_id(room: str, version: int, config: Mapping[str, Any], inputs: Mapping[str, Artifact]) -> str:
    """Hash of what decides the result: the room and its version, the resolved config, the inputs' ids. Not paths,
    not time."""
    facts = {
        "room": room,
        "version": version,
        "config": config,
        "inputs": {name: artifact.id for name, artifact in sorted(inputs.items())},
    }
    return hashlib.sha256(json.dumps(facts, sort_keys=True, ensure_ascii=False, default=str).encode()).hexdigest()[:24]


def hash_file(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def hash_files(folder: Path) -> dict[str, str]:
    """`{relative name: sha256}` of everything that is sealed."""
    names = sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())
    return {name: hash_file(folder / name) for name in names if name not in UNHASHED}


def write_atomic(path: Path, data: str | bytes) -> None:
    """Temporary name, fsync, rename: a reader sees the old file or the new one, never half of one."""
    temporary = path.with_name(path.name + ".tmp")
    with temporary.open("wb") as file:
        file.write(data.encode() if isinstance(data, str) else data)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)


def write_json(path: Path, value: Any) -> None:
    write_atomic(path, json.dumps(value, ensure_ascii=False, indent=2) + "\n")


def write_manifest(folder: Path, manifest: Manifest) -> None:
    write_json(folder / MANIFEST_FILE, asdict(manifest))


def is_artifact(path: Path) -> bool:
    return (path / MANIFEST_FILE).is_file()


def read_manifest(path: Path) -> Manifest:
    try:
        facts = json.loads((path / MANIFEST_FILE).read_text(encoding="utf-8"))
        manifest = Manifest(**facts)
    except (OSError, ValueError, TypeError):
        raise HanlinError(
            f"{path} has no readable {MANIFEST_FILE}.",
            "a finished artifact: a folder a Hanlin room has written to its end",
            "hanlin runs",
            "docs/runs.md",
        ) from None
    if manifest.format != FORMAT:
        raise HanlinError(
            f"{path} was written in format {manifest.format}.",
            f"format {FORMAT}",
            "make it again with this version of hanlin",
            "docs/runs.md",
        )
    return manifest


def open_artifact(path: Path | str, kinds: tuple[str, ...] = (), verify: bool = True) -> Artifact:
    """Open a finished artifact, check its kind and every file's hash. Raises HanlinError naming the file that
    differs."""
    path = Path(path)
    if not path.exists():
        partial = path.with_name(path.name + ".partial")
        hint = (
            f"{partial} is unfinished: run the command that makes it again, it continues"
            if partial.exists()
            else "hanlin runs  (lists what exists)"
        )
        raise HanlinError(f"{path} does not exist.", "the path of a finished artifact", hint, "docs/runs.md")
    manifest = read_manifest(path)
    if kinds and manifest.kind not in kinds:
        mergeable = manifest.kind == "adapter" and "model" in kinds
        raise HanlinError(
            f"{path} is {_with_article(manifest.kind)} (made by {manifest.room}).",
            " or ".join(map(_with_article, kinds)),
            f"hanlin merge adapter={path} out=FOLDER" if mergeable else "hanlin runs  (lists what exists)",
            "docs/runs.md",
        )
    if verify:
        verify_files(path, manifest)
    return Artifact(path=path, kind=manifest.kind, id=manifest.id, manifest=manifest)


def _with_article(kind: str) -> str:
    return f"an {kind}" if kind[0] in "aeiou" else f"a {kind}"


def verify_files(path: Path, manifest: Manifest) -> None:
    for name, expected in manifest.files.items():
        file = path / name
        found = hash_file(file) if file.is_file() else "missing"
        if found != expected:
            raise HanlinError(
                f"{file} is not the file that {manifest.room} wrote: its sha256 is {found[:12]}, "
                f"in the manifest {expected[:12]}.",
                "finished artifacts never change",
                f"restore {name}, or delete {path} and make it again",
                "docs/runs.md#hash",
            )


def lineage(path: Path, depth: int = 0, name: str = "") -> Iterator[tuple[int, str, dict[str, Any]]]:
    """(depth, input name, facts) of an artifact and its ancestors, down to the raw sources."""
    manifest = read_manifest(path)
    yield (
        depth,
        name,
        {"kind": manifest.kind, "room": manifest.room, "method": manifest.method, "id": manifest.id, "path": str(path)},
    )
    for entry in manifest.inputs:
        if entry["kind"] == "source":
            yield depth + 1, entry["name"], entry
            continue
        parent = find_by_id(Path(entry["path"]), path, entry["id"])
        if parent is None:
            yield depth + 1, entry["name"], {**entry, "missing": True}
        else:
            yield from lineage(parent, depth + 1, entry["name"])


def find_by_id(recorded: Path, near: Path, wanted_id: str) -> Path | None:
    """An input's folder: where the manifest says, or beside the artifact (moved workspaces), or in its history."""
    candidates = [recorded, near.parent / recorded.name, near.parent / ".history" / f"{recorded.name}-{wanted_id[:8]}"]
    for candidate in candidates:
        if is_artifact(candidate) and read_manifest(candidate).id == wanted_id:
            return candidate
    return None
