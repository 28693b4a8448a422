"""Addresses of sources: what they name, and how they are written."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from hanlin.core.run.errors import HanlinError, did_you_mean

SCHEMES = ("file", "pip", "npm", "hf", "git", "sql")

_JOINT = {"pip": "==", "npm": "@", "hf": "@", "git": "@"}
_PACKAGE = re.compile(r"@?[A-Za-z0-9][A-Za-z0-9._-]*(/[A-Za-z0-9][A-Za-z0-9._-]*)?")
_HUB_NAME = re.compile(r"(?:datasets/)?[A-Za-z0-9][A-Za-z0-9._-]*(/[A-Za-z0-9][A-Za-z0-9._-]*)?")
_VERSION = re.compile(r"([A-Za-z0-9][A-Za-z0-9._+-]*)?")
_REVISION = re.compile(r"([A-Za-z0-9][A-Za-z0-9._/+~^-]*)?")
_PASSWORD = re.compile(r"(://[^:/@\s]*):[^#\s]*@")
_SECRET_OPTION = re.compile(r"([?&][^=&#]*(?:pass|pwd|secret|token|key)[^=&#]*=)[^&#]*", re.IGNORECASE)


@dataclass(frozen=True)
class Address:
    """A parsed source: scheme, package with version (or path and revision, or a database's URL), member inside the
    archive (or the statement), pinned sha256."""

    scheme: str
    name: str
    version: str = ""
    member: str = ""
    sha256: str = ""

    def __str__(self) -> str:
        text = f"{self.scheme}:{self.name}{_JOINT.get(self.scheme, '') + self.version if self.version else ''}"
        if self.member:
            text += f"{'#' if self.scheme == 'sql' else '!'}{self.member}"
        return text + (f"#sha256={self.sha256}" if self.sha256 else "")


def cache_folder() -> Path:
    """The user's cache: $HANLIN_CACHE, else $XDG_CACHE_HOME/hanlin, else ~/.cache/hanlin."""
    if chosen := os.environ.get("HANLIN_CACHE"):
        return Path(chosen)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "hanlin"


def parse_address(text: str) -> Address:
    """Raises HanlinError for an unknown scheme or a package without a version. No password gets into its text."""
    body, _, pin = text.partition("#sha256=")
    match = re.match(r"([a-z]+):(?!\\)", body)
    scheme = match.group(1) if match else "file"
    if scheme not in SCHEMES:
        raise HanlinError(
            f'"{without_password(text)}": unknown kind of source "{scheme}:".',
            did_you_mean(scheme, SCHEMES),
            "use a file, a folder, or one of these kinds",
            "docs/sources.md",
        )
    body = body[match.end() :] if match else body
    if scheme == "file":
        return Address("file", body, sha256=pin)
    if scheme == "sql":
        return _database(body, pin)
    if scheme == "git":
        return _commit(text, body)
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
    _refuse_unsafe(text, scheme, name, version, member)
    return Address(scheme, name, version, member, pin)


def without_password(text: str) -> str:
    """The text of an address with *** where its URL has a password or a key."""
    url, sharp, rest = text.partition("#")
    return _PASSWORD.sub(r"\1:***@", _SECRET_OPTION.sub(r"\1***", url)) + sharp + rest


def _database(body: str, pin: str) -> Address:
    url, _, statement = body.partition("#")
    if not re.match(r"[a-z][a-z0-9+]*://", url) or not statement.strip():
        raise HanlinError(
            f'"sql:{without_password(body)}" is not an address.',
            "a database's URL, and after # one SELECT",
            "'sql:sqlite:///data.db#SELECT body AS text FROM notes'",
            "docs/sources.md#databases",
        )
    return Address("sql", url, member=statement, sha256=pin)


def _commit(text: str, body: str) -> Address:
    path, _, member = body.partition("!")
    path, at, revision = path.rpartition("@")
    if not at:
        path, revision = revision, ""
    if re.match(r"[a-z+]+://|[^/\\]+@[^/\\]+:", body):
        raise HanlinError(
            f'"{without_password(text)}" is not on this machine.',
            "a Git repository in a folder",
            "git clone the repository, and give its folder",
            "docs/sources.md",
        )
    if not path or not _REVISION.fullmatch(revision) or _climbs(member):
        raise _no_address(text)
    return Address("git", path, revision, member.rstrip("/"))


def _refuse_unsafe(text: str, scheme: str, name: str, version: str, member: str) -> None:
    """A recipe may come from anywhere: a name must not become an option of pip or npm, a member must not climb out."""
    pattern = _HUB_NAME if scheme == "hf" else _PACKAGE
    if not pattern.fullmatch(name) or not _VERSION.fullmatch(version) or _climbs(member):
        raise _no_address(text)


def _climbs(member: str) -> bool:
    return member.startswith("/") or ".." in PurePosixPath(member).parts or "\\" in member


def _no_address(text: str) -> HanlinError:
    return HanlinError(
        f'"{without_password(text)}" is not an address.',
        "a package's name and version (or a folder and a revision), and a path inside it after the !",
        "correct the address",
        "docs/sources.md",
    )
