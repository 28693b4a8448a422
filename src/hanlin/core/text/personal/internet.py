"""E-mail (the usual part of RFC 5321), LINE ID behind its label, network addresses (RFC 791, RFC 4291)."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator

from hanlin.core.text.personal.match import Match

_DOMAIN = re.compile(
    r"@([A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?(?:\.[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?)*\.[A-Za-z]{2,24})(?![A-Za-z0-9])"
)
_LOCAL = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._%+'-]*[A-Za-z0-9_+-])?\Z")
_USER_OF_ADDRESS = re.compile(r"://[^\s/]*\Z")
_FILES = frozenset(
    ["png", "jpg", "jpeg", "gif", "svg", "webp", "css", "js", "mjs", "ts", "py", "json", "html", "md", "txt", "pdf"]
)
_SERVICES = frozenset({"git", "hg", "svn"})
"""git@github.com:owner/name names no person."""

# In code `line:` is a number of a line: without ID only the capitals count.
_LINE = re.compile(
    r"(?:(?:LINE|[Ll]ine)(?: ?(?:ID|Id|id|帳號) ?[是為:=]|[是為])|LINE ?:|賴(?: ?(?:ID|id|帳號))?(?:是| ?:))"
    r" ?(@?(?=[0-9._-]*[A-Za-z])[A-Za-z0-9][A-Za-z0-9._-]{2,19})(?![A-Za-z0-9._-]*[@(/])"
)
_OTHER_WORDS = re.compile("[A-Za-z依信仰仗耍無]")
"""Before LINE or 賴 they make another word: online, 依賴."""
_IPV4 = re.compile(r"[0-9]{1,3}(?:\.[0-9]{1,3}){3}(?![0-9]|\.[0-9])")
_IPV6 = re.compile(r"[0-9A-Fa-f]{1,4}:[0-9A-Fa-f:.]{3,41}")
_VERSION = re.compile(r"(?:[Vv]|[Vv]ersion|版本?|[=~^<>]) ?\Z")


def emails(text: str) -> Iterator[Match]:
    for found in _DOMAIN.finditer(text):
        local = _LOCAL.search(text, max(0, found.start() - 64), found.start())
        if local is None or found[1].rpartition(".")[2].lower() in _FILES:
            continue
        if _USER_OF_ADDRESS.search(text, max(0, found.start() - 80), found.start()):
            continue
        if local[0] in _SERVICES and text[found.end() : found.end() + 1] in (":", "/"):
            continue
        yield Match("email", local.start(), found.end(), 0.95)


def line_ids(text: str) -> Iterator[Match]:
    for found in _LINE.finditer(text):
        if _OTHER_WORDS.match(text[found.start() - 1 : found.start()]):
            continue
        yield Match("line_id", *found.span(1), 0.85)


def network_addresses(text: str) -> Iterator[Match]:
    """Public ones: 127.0.0.1, 192.168.x.x and those for documentation are nobody's. Versions (v1.2.3.4) are none."""
    for pattern in (_IPV4, _IPV6):
        for found in pattern.finditer(text):
            before = text[found.start() - 1 : found.start()]
            if (before.isalnum() and before.isascii()) or before in (".", ":"):
                continue
            try:
                address = ipaddress.ip_address(found[0].rstrip(":."))
            except ValueError:
                continue
            if address.is_global and not _VERSION.search(text, max(0, found.start() - 8), found.start()):
                yield Match("ip", found.start(), found.start() + len(found[0].rstrip(":.")), 0.8)
