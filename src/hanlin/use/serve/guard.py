"""Who may ask, and how much. Stands before everything else, so that nothing is read from a stranger.

A page on another site can make a browser send requests to 127.0.0.1, and can point its own name at 127.0.0.1
(DNS rebinding). The first is known by its Origin, the second by its Host.
"""

from __future__ import annotations

import hmac
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from hanlin.use.serve.errors import ApiError, error_response

LOOPBACK_NAMES = frozenset(("localhost", "127.0.0.1", "::1"))


class Guard:
    """ASGI middleware. token "": none is asked for, and only this machine's own names are answered."""

    def __init__(self, app: ASGIApp, token: str, max_body_bytes: int):
        self._app, self._token, self._max_body_bytes = app, token, max_body_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        try:
            headers = Headers(scope=scope)
            check_host(headers, any_name=bool(self._token))
            check_origin(headers)
            if self._token and scope["path"].startswith("/v1"):
                check_token(headers, self._token)
            body = await read_body(headers, receive, self._max_body_bytes)
        except ApiError as error:
            await error_response(error)(scope, receive, send)
            return
        await self._app(scope, replay(body, receive), send)


def check_host(headers: Headers, any_name: bool) -> None:
    """With a token any name is fine: a page that rebinds a name can't know the token."""
    if not any_name and _host_name(headers.get("host", "")) not in LOOPBACK_NAMES:
        raise ApiError(403, "This server answers only to localhost, 127.0.0.1 and [::1].", code="host_not_allowed")


def check_origin(headers: Headers) -> None:
    """A browser says which page asks. Only our own page may; programs send no Origin."""
    origin = headers.get("origin")
    if origin is not None and urlsplit(origin).netloc != headers.get("host"):
        raise ApiError(403, "Pages of other sites may not use this server.", code="origin_not_allowed")


def check_token(headers: Headers, token: str) -> None:
    scheme, _, given = headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not hmac.compare_digest(given.strip().encode(), token.encode()):
        raise ApiError(401, "This server needs its token: Authorization: Bearer <token>.", code="invalid_api_key")


async def read_body(headers: Headers, receive: Receive, limit_bytes: int) -> bytes:
    """The whole body. Raises ApiError 413 as soon as it is known to be too large."""
    too_large = ApiError(413, f"The request is larger than {limit_bytes:,} bytes.", code="request_too_large")
    declared = headers.get("content-length", "0")
    if declared.isdecimal() and int(declared) > limit_bytes:
        raise too_large
    body = bytearray()
    more = True
    while more:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
        if len(body) > limit_bytes:
            raise too_large
    return bytes(body)


def replay(body: bytes, receive: Receive) -> Receive:
    """A `receive` that gives the body read above once, and after it what comes (the client's leaving)."""
    unread: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def replayed() -> Message:
        return unread.pop() if unread else await receive()

    return replayed


def _host_name(host: str) -> str:
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""
