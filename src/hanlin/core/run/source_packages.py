"""Packages as sources: wheels and npm's archives, downloaded by the machine's own client and read as data.

Their code is never run: wheels only, no install scripts, and archives are searched before anything is written.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path, PurePosixPath

from hanlin.core.run.artifact import Artifact, hash_file
from hanlin.core.run.errors import HanlinError, did_you_mean
from hanlin.core.run.events import Emit
from hanlin.core.run.source_address import Address, cache_folder

MAX_UNPACKED_BYTES = 4 * 2**30


def fetch_package(address: Address, emit: Emit) -> Artifact:
    """The package's files, or one member. A cached archive is checked against the pin again."""
    folder = cache_folder() / address.scheme / f"{address.name.replace('/', '+')}-{address.version}"
    archive = _cached_archive(folder)
    if archive is None:
        emit("download", source=str(address))
        archive = _download(address, folder)
    found = hash_file(archive)
    if address.sha256 and found != address.sha256:
        archive.unlink()
        raise HanlinError(
            f"{address.scheme}:{address.name} {address.version} has sha256 {found}, the pin says {address.sha256}.",
            "exactly the archive that was pinned",
            "if you trust the new file, change the pin; the downloaded file has been removed",
            "docs/sources.md#pins",
        )
    unpacked = folder / f"unpacked-{found[:12]}"
    if not unpacked.exists():
        _unpack(archive, unpacked)
    root = unpacked / "package" if address.scheme == "npm" else unpacked
    path = (root / address.member) if address.member else root
    if not path.exists():
        raise HanlinError(
            f"{archive.name} has no member {address.member}.",
            _members_nearby(root, address.member),
            "correct the part after the !",
            "docs/sources.md",
        )
    identity = found if not address.member else hashlib.sha256(f"{found}!{address.member}".encode()).hexdigest()
    pinned = Address(address.scheme, address.name, address.version, address.member, found)
    return Artifact(path=path, kind="source", id=identity, address=str(pinned), licence=_licence(unpacked, address))


def _cached_archive(folder: Path) -> Path | None:
    return next((p for p in sorted(folder.glob("*")) if p.suffix in (".whl", ".tgz")), None)


def _download(address: Address, folder: Path) -> Path:
    """Wheels only: building a source archive would run its code."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as place:
        if address.scheme == "pip":
            command = [
                sys.executable,
                "-m",
                "pip",
                "download",
                "--quiet",
                "--disable-pip-version-check",
                "--no-deps",
                "--only-binary=:all:",
                "--ignore-requires-python",  # the archive is data: whether this Python could run it does not matter
                "--dest",
                place,
            ]
            command.append(f"{address.name}=={address.version}")
        else:
            command = [
                "npm",
                "pack",
                "--silent",
                "--ignore-scripts",
                "--pack-destination",
                place,
                f"{address.name}@{address.version}",
            ]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=900)
        except FileNotFoundError:
            raise HanlinError(
                f"{command[0]} is not installed.",
                f"{command[0]}, to download {address}",
                f"install {command[0]}, or give a file instead",
                "docs/sources.md",
            ) from None
        except subprocess.TimeoutExpired:
            raise HanlinError(
                f"Downloading {address} took over 15 minutes.",
                "a working connection",
                "run the same command again",
                "docs/sources.md",
            ) from None
        archive = _cached_archive(Path(place))
        if done.returncode or archive is None:
            reason = (done.stderr.strip().splitlines() or ["no archive came"])[-1]
            raise HanlinError(
                f"{address} could not be downloaded: {reason[:200]}",
                "the package's archive from the registry this machine is set up for",
                "check the name, the version and the connection",
                "docs/sources.md",
            )
        folder.mkdir(exist_ok=True)
        target = folder / archive.name
        os.replace(archive, target)
    return target


def _unpack(archive: Path, target: Path) -> None:
    """Unpack beside the archive; paths that climb out, links and absurd sizes are refused before anything is
    written."""
    members = _list_members(archive)
    total = sum(size for _, size in members)
    for name, _ in members:
        parts = PurePosixPath(name).parts
        if name.startswith("/") or ".." in parts or "\\" in name or (parts and ":" in parts[0]):
            raise HanlinError(
                f"{archive.name} holds the unsafe path {name!r}.",
                "paths inside the archive",
                "do not use this archive",
                "docs/sources.md#safety",
            )
    if total > MAX_UNPACKED_BYTES:
        raise HanlinError(
            f"{archive.name} would unpack to {total / 2**30:.1f} GiB.",
            f"at most {MAX_UNPACKED_BYTES / 2**30:.0f} GiB",
            "unpack it by hand and give the folder",
            "docs/sources.md#safety",
        )
    temporary = target.with_name(target.name + ".tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as zipped:
            zipped.extractall(temporary)
    else:
        _extract_files(archive, temporary)
    os.replace(temporary, target)


def _extract_files(archive: Path, folder: Path) -> None:
    """A tarball's plain files, contents alone. tarfile's own filters are missing in Python 3.11.0 to 3.11.3."""
    with tarfile.open(archive) as tarred:
        for member in tarred:
            if (content := tarred.extractfile(member)) is None:
                continue
            place = folder / member.name
            place.parent.mkdir(parents=True, exist_ok=True)
            with content, place.open("wb") as file:
                shutil.copyfileobj(content, file)


def _list_members(archive: Path) -> list[tuple[str, int]]:
    try:
        if zipfile.is_zipfile(archive):
            with zipfile.ZipFile(archive) as zipped:
                return [(info.filename, info.file_size) for info in zipped.infolist()]
        with tarfile.open(archive) as tarred:
            members = tarred.getmembers()
            if any(member.issym() or member.islnk() or member.isdev() for member in members):
                raise HanlinError(
                    f"{archive.name} holds links or devices.",
                    "plain files",
                    "do not use this archive",
                    "docs/sources.md#safety",
                )
            return [(member.name, member.size) for member in members]
    except (zipfile.BadZipFile, tarfile.TarError, EOFError) as error:
        raise HanlinError(
            f"{archive} is not a readable archive ({error}).",
            "a whole .whl or .tgz",
            f"delete {archive} and run again",
            "docs/sources.md",
        ) from None


def _members_nearby(root: Path, member: str) -> str:
    return did_you_mean(member, [p.relative_to(root).as_posix() for p in root.rglob("*") if p.is_file()][:500])


def _licence(unpacked: Path, address: Address) -> str:
    """The licence the package states: wheel METADATA or package.json."""
    for metadata in unpacked.glob("*.dist-info/METADATA"):
        for line in metadata.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith(("License-Expression:", "License:")):
                return line.partition(":")[2].strip()
            if line.startswith("Classifier: License ::"):
                return line.rpartition("::")[2].strip()
    package = unpacked / "package" / "package.json"
    if package.exists():
        match = re.search(r'"license"\s*:\s*"([^"]+)"', package.read_text(encoding="utf-8", errors="replace"))
        return match.group(1) if match else ""
    return ""
