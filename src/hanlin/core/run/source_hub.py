"""Repositories of the Hugging Face hub as sources: whole into its own cache, or a data set's files one by one.

A data set may be larger than the disk. So what stands for it is a folder of pointers, small JSON files that say which
file of which commit is meant; collect fetches each when its turn comes, reads it, and lets it go.
"""

from __future__ import annotations

import fnmatch
import hashlib
import importlib
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hanlin.core.run.artifact import Artifact, hash_file
from hanlin.core.run.errors import HanlinError
from hanlin.core.run.events import Emit
from hanlin.core.run.source_address import Address, cache_folder

POINTER = ".on-the-hub"
"""The suffix of a pointer, behind the file's own name."""


def fetch_repository(address: Address) -> Path:
    """The repository, or one file of it, in the hub's own cache."""
    client = _client()
    with _reaching(address):
        if address.member:
            path = Path(client.hf_hub_download(address.name, address.member, revision=address.version or None))
        else:
            path = Path(client.snapshot_download(address.name, revision=address.version or None))
    if address.sha256 and path.is_file() and hash_file(path) != address.sha256:
        raise _other_hash(address)
    return path


def fetch_dataset(address: Address, emit: Emit) -> Artifact:
    """A folder of pointers to the data set's files that match the pattern after the `!`; without a connection, what
    of them the hub's cache holds. `id` comes from the commit and the files' hashes."""
    client = _client()
    name = address.name.removeprefix("datasets/")
    if importlib.import_module("huggingface_hub.constants").HF_HUB_OFFLINE:
        return _cached(address, name)
    emit("download", source=str(address))
    with _reaching(address):
        hub = client.HfApi()
        commit = hub.repo_info(name, revision=address.version or None, repo_type="dataset").sha
        tree = hub.list_repo_tree(name, recursive=True, revision=commit, repo_type="dataset")
        files = sorted((entry for entry in tree if hasattr(entry, "size")), key=lambda entry: entry.path)
    files = [entry for entry in files if _matches(entry.path, address.member)]
    if not files:
        raise _unreachable(address, "no file of it matches the part after the !")
    pinned = Address("hf", address.name, commit, address.member)
    facts = [
        {"repository": name, "commit": commit, "file": f.path, "bytes": f.size, "sha256": f.lfs.sha256 if f.lfs else ""}
        for f in files
    ]
    identity = hashlib.sha256(json.dumps([facts, [f.blob_id for f in files]]).encode()).hexdigest()
    folder = cache_folder() / "hf" / f"{name.replace('/', '+')}-{identity[:12]}"
    if not folder.exists():
        _write_pointers(folder, facts)
    return Artifact(path=folder, kind="source", id=identity, address=str(pinned))


def pointed_at(pointer: Path) -> dict[str, Any]:
    """What a pointer says. Raises HanlinError for one that hanlin has not written: it could make this machine fetch
    anything."""
    if not pointer.resolve().is_relative_to((cache_folder() / "hf").resolve()):
        raise HanlinError(
            f"{pointer} points to a file elsewhere, and does not lie in hanlin's cache.",
            "pointers of hf:datasets/… sources alone",
            "remove it, or give the hf: address itself",
            "docs/sources.md#safety",
        )
    return json.loads(pointer.read_text(encoding="utf-8"))


def download_pointed(pointer: Path, folder: Path) -> Path:
    """The file a pointer means, in `folder`. Raises HanlinError where it can't be had or is another one."""
    facts = pointed_at(pointer)
    address = Address("hf", f"datasets/{facts['repository']}", facts["commit"], facts["file"])
    client = _client()
    with _reaching(address):
        path = client.hf_hub_download(
            facts["repository"], facts["file"], revision=facts["commit"], repo_type="dataset", local_dir=folder
        )
    if facts["sha256"] and hash_file(Path(path)) != facts["sha256"]:
        raise _other_hash(address)
    return Path(path)


def _write_pointers(folder: Path, facts: list[dict[str, Any]]) -> None:
    temporary = folder.with_name(folder.name + ".tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    for entry in facts:
        place = temporary / (entry["file"] + POINTER)
        if not place.resolve().is_relative_to(temporary.resolve()):
            raise _unreachable(Address("hf", entry["repository"]), f"it names the unsafe path {entry['file']!r}")
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(json.dumps(entry), encoding="utf-8")
    os.replace(temporary, folder)


def _cached(address: Address, name: str) -> Artifact:
    with _reaching(address):
        path = Path(
            _client().snapshot_download(
                name, revision=address.version or None, repo_type="dataset", allow_patterns=address.member or None
            )
        )
    # The cache's folders are named by their commits.
    identity = hashlib.sha256(f"{name}@{path.name}!{address.member}".encode()).hexdigest()
    return Artifact(path=path, kind="source", id=identity, address=str(address))


def _matches(path: str, pattern: str) -> bool:
    return not pattern or fnmatch.fnmatchcase(path, pattern) or path.startswith(pattern.rstrip("/") + "/")


def _client() -> Any:
    try:
        import huggingface_hub
    except ImportError:
        raise HanlinError(
            "hf: sources need huggingface_hub.", "the extra hf", 'pip install "hanlin[hf]"', "docs/sources.md"
        ) from None
    return huggingface_hub


@contextmanager
def _reaching(address: Address) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # the hub's client raises many kinds; all of them mean "could not be had"
        raise _unreachable(address, (str(error).splitlines() or [type(error).__name__])[0][:200]) from error


def _unreachable(address: Address, why: str) -> HanlinError:
    return HanlinError(
        f"hf:{address.name} could not be had: {why}",
        "a reachable repository, or one already in its cache",
        "check the name; HF_HUB_OFFLINE=1 uses the cache alone",
        "docs/sources.md",
    )


def _other_hash(address: Address) -> HanlinError:
    return HanlinError(
        f"{address.name}!{address.member} has another hash than the pin.",
        f"sha256 {address.sha256}" if address.sha256 else "the file as the hub lists it",
        "if you trust the new file, change the pin",
        "docs/sources.md#pins",
    )
