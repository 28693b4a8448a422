"""API keys: a file of names, hashes and limits, from which no key can be read.

A key is `hanlin-<id>-<secret>`: 4 random bytes that find its row and 32 that prove it. What is kept is HMAC-SHA256 of
the whole under a salt of its own. A slow hash (scrypt) protects short passwords, which can be guessed one by one;
nobody guesses 256 random bits, and a slow hash would cost each request tens of milliseconds and strangers could make
the server compute it. The salt makes the same key in two files look different.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import logging
import os
import secrets
import tempfile
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, Field, ValidationError

from hanlin.core.run.config import Config
from hanlin.core.run.errors import HanlinError, did_you_mean

log = logging.getLogger(__name__)
FORMAT = 1
PAGE = "docs/serve.md#keys"
NOBODY_SALT, NOBODY_HASH = "00" * 16, "00" * 32


def _in_utc(when: datetime) -> datetime:
    return when if when.tzinfo is not None else when.replace(tzinfo=UTC)


class KeyLimits(Config):
    """What one key may do. 0 and an empty list are no limit."""

    requests_per_minute: int = Field(0, ge=0, description="requests in any 60 seconds; 0: any number")
    tokens_per_minute: int = Field(0, ge=0, description="tokens read and written in any 60 seconds; 0: any number")
    tokens_per_day: int = Field(0, ge=0, description="tokens read and written in any 24 hours; 0: any number")
    streams: int = Field(0, ge=0, description="replies at the same time; 0: any number")
    models: tuple[str, ...] = Field((), description="names of models and adapters it may ask for; empty: all")
    expires: Annotated[datetime, AfterValidator(_in_utc)] | None = Field(
        None, description="from when on it is refused: 2027-01-31, or with a time; UTC where no zone is given"
    )


class Key(KeyLimits):
    """One row of the file."""

    name: str = Field(pattern=r"^[\w.-]{1,64}$", description="what logs and metrics call it")
    id: str = Field(pattern=r"^[0-9a-f]{8}$", description="the part of the key that finds this row")
    salt: str = Field(pattern=r"^[0-9a-f]{32}$", description="random bytes in the hash")
    hash: str = Field(pattern=r"^[0-9a-f]{64}$", description="HMAC-SHA256 of the key under the salt")
    created: datetime = Field(description="when it was made")

    def has_expired(self, now: datetime) -> bool:
        return self.expires is not None and self.expires <= now

    def may_use(self, model: str) -> bool:
        return not self.models or model in self.models


class KeyFile:
    """The keys a server accepts, read again when the file changes.

    A file that can't be read any more is logged and the last good keys stay; a file that is gone accepts nobody.
    """

    def __init__(self, path: Path):
        self._path = path
        self._keys = {key.id: key for key in read_keys(path)}
        self._seen = _version(path)

    def find(self, given: str) -> Key | None:
        """The key this text is. An unknown id takes as long as a wrong secret."""
        self._refresh()
        _, _, rest = given.partition("-")
        key = self._keys.get(rest.partition("-")[0])
        salt, expected = (key.salt, key.hash) if key is not None else (NOBODY_SALT, NOBODY_HASH)
        return key if hmac.compare_digest(hash_of(given, salt), expected) else None

    def _refresh(self) -> None:
        seen = _version(self._path)
        if seen == self._seen:
            return
        self._seen = seen
        try:
            self._keys = {key.id: key for key in read_keys(self._path)} if seen is not None else {}
        except (HanlinError, OSError) as error:
            log.error("The keys of before stay in use. %s", error)


def hash_of(key: str, salt: str) -> str:
    return hmac.new(bytes.fromhex(salt), key.encode(), hashlib.sha256).hexdigest()


def add_key(path: Path, name: str, limits: KeyLimits) -> str:
    """A new key, which only its caller ever sees. Raises HanlinError for a name that is taken or can't be one."""
    keys = read_keys(path) if path.exists() else []
    if any(key.name == name for key in keys):
        raise HanlinError(
            f'{path} has a key named "{name}" already.', "a name of its own", f"hanlin keys remove {path} {name}", PAGE
        )
    now = datetime.now(UTC).replace(microsecond=0)
    if limits.expires is not None and limits.expires <= now:
        raise HanlinError(f"expires={limits.expires} is over.", "a time to come", "expires=2030-01-31, say", PAGE)
    id, salt = secrets.token_hex(4), secrets.token_hex(16)
    text = f"hanlin-{id}-{secrets.token_hex(32)}"
    try:
        key = Key(name=name, id=id, salt=salt, hash=hash_of(text, salt), created=now, **limits.model_dump())
    except ValidationError:
        raise HanlinError(
            f'"{name}" can\'t be the name of a key.', "letters, digits, . _ -; at most 64", "another name", PAGE
        ) from None
    write_keys(path, [*keys, key])
    return text


def remove_key(path: Path, name: str) -> None:
    """A running server refuses it from its next request on. Raises HanlinError for a name that isn't there."""
    keys = read_keys(path)
    kept = [key for key in keys if key.name != name]
    if len(kept) == len(keys):
        known = did_you_mean(name, [key.name for key in keys]) if keys else "a key; the file has none"
        raise HanlinError(f'{path} has no key named "{name}".', known, f"hanlin keys list {path}", PAGE)
    write_keys(path, kept)


def read_keys(path: Path) -> list[Key]:
    """Raises HanlinError for a file that is missing or none of ours."""
    try:
        held: Any = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(held, dict) or held.get("format") != FORMAT:
            raise ValueError(f"not a file of keys, format {FORMAT}")
        return [Key.model_validate(row) for row in held["keys"]]
    except FileNotFoundError:
        raise HanlinError(
            f"There is no file of keys at {path}.", "a file of keys", f"hanlin keys add {path} NAME", PAGE
        ) from None
    except (ValueError, KeyError, TypeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise HanlinError(f"{path}: {reason}.", "a file that hanlin keys wrote", "restore the file", PAGE) from None


def write_keys(path: Path, keys: Iterable[Key]) -> None:
    """Whole or not at all, and only this user may read it."""
    rows = [key.model_dump(mode="json", exclude_defaults=True) for key in keys]
    text = json.dumps({"format": FORMAT, "keys": rows}, ensure_ascii=False, indent=1)
    path.parent.mkdir(parents=True, exist_ok=True)
    # mkstemp makes files with mode 0600.
    handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with open(handle, "w", encoding="utf-8") as file:
            file.write(text + "\n")
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


def _version(path: Path) -> tuple[int, int, int] | None:
    try:
        facts = path.stat()
    except OSError:
        return None
    return facts.st_ino, facts.st_mtime_ns, facts.st_size
