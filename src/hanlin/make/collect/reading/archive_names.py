"""Names of archive members: decoded from whatever the packer wrote, and checked before anything is done with them.

A zip whose names are not marked as UTF-8 says cp437 and holds what the packer's system used: Big5 in Taiwan, GBK in
China. Both encodings put their frequent characters into a block of lead bytes of their own; the one whose block holds
more of the names' characters is taken.
"""

from __future__ import annotations

import struct
import zipfile
from collections.abc import Iterable
from pathlib import PurePosixPath

_FREQUENT = {"cp950": (0xA4, 0xC6), "gb18030": (0xB0, 0xD7)}
"""Lead bytes of Big5's 5,401 and GB 2312's 3,755 frequent characters. Between equals the first wins."""

_UTF8_FLAG = 0x800
_UNICODE_PATH = 0x7075
"""Info-ZIP's extra field: version (1 byte), CRC of the raw name (4), the name in UTF-8."""


def encoding_of(names: Iterable[bytes]) -> str:
    """One encoding for all names of an archive, which were written on one system."""
    raw = b"\n".join(names)
    for encoding in ("utf-8", *sorted(_FREQUENT, key=lambda encoding: -_frequent_share(raw, encoding))):
        try:
            raw.decode(encoding)
        except UnicodeDecodeError:
            continue
        return encoding
    return "cp437"


def zip_names(members: Iterable[zipfile.ZipInfo]) -> list[str]:
    """The members' names as the packer saw them."""
    members = list(members)
    raw = [None if member.flag_bits & _UTF8_FLAG else _raw(member) for member in members]
    encoding = encoding_of({name for name in raw if name is not None})
    return [
        _unicode_path(member) or (member.orig_filename if name is None else name.decode(encoding, errors="replace"))
        for member, name in zip(members, raw)
    ]


def tar_name(name: str) -> str:
    """A tar's name, which was decoded as UTF-8 with what isn't kept as surrogates."""
    raw = name.encode("utf-8", errors="surrogateescape")
    return raw.decode(encoding_of([raw]), errors="replace")


def unsafe(name: str) -> bool:
    """Whether a member's name would leave the folder it is unpacked into. Nothing is unpacked by its name here, but
    such an archive is not one to trust."""
    parts = PurePosixPath(name.replace("\\", "/")).parts
    return not parts or name.startswith(("/", "\\")) or ".." in parts or ":" in parts[0] or "\0" in name


def hidden(name: str) -> bool:
    """Left out, as in folders: .DS_Store, and what macOS puts beside every file."""
    return any(part.startswith(".") or part == "__MACOSX" for part in PurePosixPath(name).parts)


def _raw(member: zipfile.ZipInfo) -> bytes:
    try:
        return member.orig_filename.encode("cp437")
    except UnicodeEncodeError:  # a Python that has already put the Unicode path in its place
        return member.orig_filename.encode("utf-8", errors="surrogatepass")


def _unicode_path(member: zipfile.ZipInfo) -> str | None:
    extra = member.extra
    while len(extra) >= 4:
        kind, size = struct.unpack_from("<HH", extra)
        if kind == _UNICODE_PATH and size > 5:
            try:
                return extra[9 : 4 + size].decode("utf-8")
            except UnicodeDecodeError:
                return None
        extra = extra[4 + size :]
    return None


def _frequent_share(raw: bytes, encoding: str) -> float:
    first, last = _FREQUENT[encoding]
    try:
        text = raw.decode(encoding)
    except UnicodeDecodeError:
        return 0.0
    leads = [character.encode(encoding)[0] for character in text if ord(character) >= 0x80]
    return sum(first <= lead <= last for lead in leads) / max(1, len(leads))
