"""A request's body: read whole, within a size and a time, and not nested deeper than a person would."""

from __future__ import annotations

import asyncio
import re

from starlette.datastructures import Headers
from starlette.types import Message, Receive

from hanlin.use.serve.errors import ApiError

# Possessive, and an unclosed string reaches to the end: no text makes this look at a character more than twice.
STRING = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|\\?\Z)', re.DOTALL)
NOT_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))


async def read_body(headers: Headers, receive: Receive, limit_bytes: int, limit_seconds: float) -> bytes:
    """Raises ApiError 413 as soon as it is known to be too large, and 408 when it takes too long. limit_seconds: 0 for
    no limit."""
    too_large = ApiError(413, f"The request is larger than {limit_bytes:,} bytes.", code="request_too_large")
    declared = headers.get("content-length", "0")
    if declared.isdecimal() and int(declared) > limit_bytes:
        raise too_large
    body = bytearray()
    more = True
    try:
        async with asyncio.timeout(limit_seconds or None):
            while more:
                message = await receive()
                body += message.get("body", b"")
                more = message.get("more_body", False)
                if len(body) > limit_bytes:
                    raise too_large
    except TimeoutError:
        message_text = f"The body did not arrive within {limit_seconds:g} seconds."
        raise ApiError(408, message_text, code="request_timeout") from None
    return bytes(body)


def replay(body: bytes, receive: Receive) -> Receive:
    """A `receive` that gives the body read above once, and after it what comes (the client's leaving)."""
    unread: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def replayed() -> Message:
        return unread.pop() if unread else await receive()

    return replayed


def check_depth(body: bytes, limit: int) -> None:
    """Raises ApiError 400 for JSON whose brackets stand deeper than `limit`."""
    if depth_exceeds(body, limit):
        raise ApiError(400, f"The body is nested deeper than {limit} levels.", code="invalid_json")


def depth_exceeds(body: bytes, limit: int) -> bool:
    """Whether brackets outside of strings stand more than `limit` deep. In time proportional to the body's length."""
    if body.count(b"[") + body.count(b"{") <= limit:
        return False
    depth = 0
    for bracket in STRING.sub(b"", body).translate(None, NOT_BRACKETS):
        depth += 1 if bracket in b"[{" else -1
        if depth > limit:
            return True
    return False
