"""Who may ask, and how much. Stands before the routes, so that nothing is read from a stranger.

A page on another site can make a browser send requests to 127.0.0.1, and can point its own name at 127.0.0.1
(DNS rebinding). The first is known by its Origin, the second by its Host.
"""

from __future__ import annotations

import hmac
import ipaddress
from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from hanlin.use.serve.access.body import check_depth, read_body, replay
from hanlin.use.serve.access.keys import Key, KeyFile
from hanlin.use.serve.config import Serve
from hanlin.use.serve.errors import ApiError, error_response
from hanlin.use.serve.watch.account import Account, scope_account

LOOPBACK_NAMES = frozenset(("localhost", "127.0.0.1", "::1"))
FORWARDED = ("forwarded", "x-forwarded-for", "x-forwarded-host", "via")


@dataclass(frozen=True)
class Door:
    """Who is let in. keys: None where there is no file of them. open_paths: for them nobody has to say who asks."""

    config: Serve
    keys: KeyFile | None
    open_paths: Collection[str]

    @property
    def asks(self) -> bool:
        """Whether callers have to say who they are."""
        return bool(self.config.token) or self.keys is not None

    def enter(self, scope: Scope, headers: Headers, account: Account) -> None:
        """Raises ApiError: 401 for who isn't known, 403 for a name or a page that may not ask, 429, 431."""
        host = host_of(headers, self.config.behind_proxy)
        check_host(host, any_name=self.asks)
        check_origin(headers, host, self.config.cors)
        check_size(scope, self.config.max_header_bytes)
        if self.asks and not self._is_open(scope, headers):
            account.client, account.key = self._caller(headers)
        if account.key is not None and scope["method"] == "POST":
            account.quotas.admit(account.key)

    def _is_open(self, scope: Scope, headers: Headers) -> bool:
        if scope["path"] == "/metrics":
            return self.config.open_metrics or is_this_machine(scope, headers)
        return scope["path"] in self.open_paths

    def _caller(self, headers: Headers) -> tuple[str, Key | None]:
        scheme, _, given = headers.get("authorization", "").partition(" ")
        given = given.strip()
        if scheme.lower() != "bearer" or not given:
            raise unknown("This server needs a key: Authorization: Bearer <key>.")
        if self.config.token and hmac.compare_digest(given.encode(), self.config.token.encode()):
            return "token", None
        key = self.keys.find(given) if self.keys is not None else None
        if key is None:
            raise unknown("This key is not known here.")
        if key.has_expired(datetime.now(UTC)):
            raise unknown(f"This key has expired ({key.expires:%Y-%m-%d %H:%M} UTC).")
        return key.name, key


class Guard:
    """ASGI middleware: the door, then the body."""

    def __init__(self, app: ASGIApp, door: Door):
        self._app, self._door = app, door

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        account, config = scope_account(scope), self._door.config
        try:
            headers = Headers(scope=scope)
            self._door.enter(scope, headers, account)
            body = await read_body(headers, receive, config.max_body_bytes, config.body_seconds)
            check_depth(body, config.max_json_depth)
        except ApiError as error:
            account.code = error.code or ""
            await error_response(error)(scope, receive, send)
            return
        if account.keeps_texts:
            account.body = body
        await self._app(scope, replay(body, receive), send)


def unknown(message: str) -> ApiError:
    return ApiError(401, message, code="invalid_api_key", headers={"WWW-Authenticate": "Bearer"})


def host_of(headers: Headers, behind_proxy: bool) -> str:
    """The name the client used: a proxy in front passes it on in a header of its own."""
    forwarded = headers.get("x-forwarded-host") if behind_proxy else None
    return forwarded or headers.get("host", "")


def check_host(host: str, any_name: bool) -> None:
    """With a token or keys any name is fine: a page that rebinds a name can't know them."""
    if not any_name and _host_name(host) not in LOOPBACK_NAMES:
        raise ApiError(403, "This server answers only to localhost, 127.0.0.1 and [::1].", code="host_not_allowed")


def check_origin(headers: Headers, host: str, allowed: Collection[str]) -> None:
    """A browser says which page asks. Only our own may, and those of `allowed`; programs send no Origin."""
    origin = headers.get("origin")
    if origin is None or origin in allowed or "*" in allowed:
        return
    if _netloc(origin) != host:
        raise ApiError(403, "Pages of other sites may not use this server.", code="origin_not_allowed")


def check_size(scope: Scope, limit_bytes: int) -> None:
    """Raises ApiError 431 for headers and address that are larger together."""
    size = len(scope.get("raw_path") or b"") + len(scope.get("query_string", b""))
    size += sum(len(name) + len(value) for name, value in scope["headers"])
    if size > limit_bytes:
        raise ApiError(431, f"Address and headers are larger than {limit_bytes:,} bytes.", code="headers_too_large")


def is_this_machine(scope: Scope, headers: Headers) -> bool:
    """Whether a program on this machine asks, by this machine's own name and not through a proxy."""
    client = scope.get("client")
    if client is None or any(name in headers for name in FORWARDED):
        return False
    try:
        near = ipaddress.ip_address(client[0]).is_loopback
    except ValueError:
        return False
    return near and _host_name(headers.get("host", "")) in LOOPBACK_NAMES


def _host_name(host: str) -> str:
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""


def _netloc(origin: str) -> str:
    try:
        return urlsplit(origin).netloc
    except ValueError:
        return ""
