"""A local Git repository as a source: its tracked files as they are in one commit.

The blobs are read as they are stored (`git cat-file`): no filter, attribute or hook of the repository has a say, and
uncommitted changes are no part of it. Links and submodules are left out.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import NoReturn

from hanlin.core.run.artifact import Artifact
from hanlin.core.run.errors import HanlinError
from hanlin.core.run.events import Emit
from hanlin.core.run.source_address import Address, cache_folder

MAX_BYTES = 16 * 2**30
_PLAIN_FILES = ("100644", "100755")
_LICENCE_FILE = re.compile(r"(?:licen[cs]e|copying|unlicense)(?:\.(?:md|txt|rst))?", re.IGNORECASE)
_LICENCES = (
    ("SPDX-License-Identifier:", ""),
    ("MIT License", "MIT"),
    ("Permission is hereby granted, free of charge", "MIT"),
    ("Apache License Version 2.0", "Apache-2.0"),
    ("GNU AFFERO GENERAL PUBLIC LICENSE Version 3", "AGPL-3.0"),
    ("GNU LESSER GENERAL PUBLIC LICENSE Version 3", "LGPL-3.0"),
    ("GNU LESSER GENERAL PUBLIC LICENSE Version 2.1", "LGPL-2.1"),
    ("GNU GENERAL PUBLIC LICENSE Version 3", "GPL-3.0"),
    ("GNU GENERAL PUBLIC LICENSE Version 2", "GPL-2.0"),
    ("Mozilla Public License Version 2.0", "MPL-2.0"),
    ("BSD 3-Clause", "BSD-3-Clause"),
    ("BSD 2-Clause", "BSD-2-Clause"),
    ("ISC License", "ISC"),
    ("CC0 1.0 Universal", "CC0-1.0"),
    ("Attribution-ShareAlike 4.0 International", "CC-BY-SA-4.0"),
    ("Attribution 4.0 International", "CC-BY-4.0"),
    ("free and unencumbered software released into the public domain", "Unlicense"),
)


def fetch_commit(address: Address, emit: Emit) -> Artifact:
    """The commit's files, unpacked into the cache once. `id` is the commit's hash. Raises HanlinError where the
    repository, the revision or the folder inside it is missing."""
    repository = Path(address.name).expanduser()
    if not repository.is_dir():
        _refuse(address, f"{repository} is no folder")
    commit = _git(address, "rev-parse", "--verify", "--end-of-options", f"{address.version or 'HEAD'}^{{commit}}")
    commit_id = commit.decode().strip()
    folder = cache_folder() / "git" / f"{_plain(repository.resolve().name)}-{commit_id}"
    if not folder.exists():
        emit("download", source=str(address))
        _unpack(address, commit_id, folder)
    path = folder / address.member if address.member else folder
    if not path.exists():
        _refuse(address, f"commit {commit_id[:12]} has no {address.member}")
    pinned = Address("git", address.name, commit_id, address.member)
    identity = hashlib.sha256(f"{commit_id}!{address.member}".encode()).hexdigest() if address.member else commit_id
    return Artifact(path=path, kind="source", id=identity, address=str(pinned), licence=_licence(folder))


def _unpack(address: Address, commit: str, folder: Path) -> None:
    entries = list(_entries(address, commit))
    if (total := sum(size for _, _, size in entries)) > MAX_BYTES:
        _refuse(address, f"its files have {total / 2**30:.1f} GiB, more than {MAX_BYTES / 2**30:.0f}")
    temporary = folder.with_name(folder.name + ".tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    with subprocess.Popen(
        _command(address, "cat-file", "--batch"),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=_environment(),
    ) as process:
        assert process.stdin is not None and process.stdout is not None
        for name, blob, size in entries:
            process.stdin.write(f"{blob}\n".encode())
            process.stdin.flush()
            if process.stdout.readline().split()[1:2] != [b"blob"]:
                _refuse(address, f"{name} can't be read from the repository")
            place = temporary / name
            place.parent.mkdir(parents=True, exist_ok=True)
            with place.open("wb") as file:
                while size:
                    block = process.stdout.read(min(size, 1 << 20))
                    if not block:
                        _refuse(address, f"{name} is cut short in the repository")
                    file.write(block)
                    size -= len(block)
            process.stdout.read(1)
        process.stdin.close()
    os.replace(temporary, folder)


def _entries(address: Address, commit: str) -> Iterator[tuple[str, str, int]]:
    """(path, blob, bytes) of every plain file; paths that climb out, or into a .git, are refused."""
    for entry in _git(address, "ls-tree", "-r", "-z", "--long", "--full-tree", commit).split(b"\0"):
        if not entry:
            continue
        facts, _, raw = entry.partition(b"\t")
        mode, _, blob, size = facts.decode().split()
        if mode not in _PLAIN_FILES:
            continue
        name = os.fsdecode(raw)
        parts = PurePosixPath(name).parts
        if name.startswith("/") or "\\" in name or {"..", ".git"} & {part.lower() for part in parts}:
            _refuse(address, f"it holds the unsafe path {name!r}")
        yield name, blob, int(size)


def _git(address: Address, *arguments: str) -> bytes:
    try:
        done = subprocess.run(_command(address, *arguments), capture_output=True, timeout=600, env=_environment())
    except FileNotFoundError:
        _refuse(address, "git is not installed")
    except subprocess.TimeoutExpired:
        _refuse(address, "git took over ten minutes")
    if done.returncode:
        _refuse(address, (done.stderr.decode(errors="replace").strip().splitlines() or ["git failed"])[0][:200])
    return done.stdout


def _command(address: Address, *arguments: str) -> list[str]:
    settings = ("core.fsmonitor=false", f"core.hooksPath={os.devnull}", "protocol.allow=never")
    options = [part for setting in settings for part in ("-c", setting)]
    return ["git", "-C", str(Path(address.name).expanduser()), *options, *arguments]


def _environment() -> dict[str, str]:
    """Nothing is asked for, nothing is fetched, and no other repository is meant."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    return kept | {"GIT_TERMINAL_PROMPT": "0", "GIT_NO_LAZY_FETCH": "1", "LC_ALL": "C"}


def _licence(folder: Path) -> str:
    """What the licence file's first lines say, where they are known words."""
    for path in sorted(folder.iterdir()):
        if _LICENCE_FILE.fullmatch(path.name) and path.is_file():
            with path.open(encoding="utf-8", errors="replace") as file:
                text = " ".join(file.read(2000).split())
            for words, name in _LICENCES:
                if (place := text.lower().find(words.lower())) >= 0:
                    return name or (text[place + len(words) :].split() or [""])[0]
    return ""


def _plain(name: str) -> str:
    return re.sub(r"[^\w.-]", "_", name) or "repository"


def _refuse(address: Address, why: str) -> NoReturn:
    raise HanlinError(
        f"{address}: {why}.",
        "a Git repository on this machine, a revision of it, and a path inside it",
        "git:PATH@REVISION!FOLDER (git clone fetches a repository from elsewhere)",
        "docs/sources.md",
    )
