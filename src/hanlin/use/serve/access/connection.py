"""One connection, with patience that ends: clients that send their headers slowly, that read slowly, or that are too
many."""

from __future__ import annotations

import asyncio
import json
from http import HTTPStatus
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from hanlin.use.serve.config import Serve
from hanlin.use.serve.errors import error_body

SURPLUS_SECONDS = 1.0
"""For which a connection too many is kept, so that its client can read why."""


class Connection(H11Protocol):
    """uvicorn's own, but for what follows. `for_options` makes the class that uvicorn takes."""

    options: Serve
    _is_surplus = False
    _is_told = False
    _late: asyncio.TimerHandle | None = None
    """Runs while a request's headers are awaited."""
    _stuck: asyncio.TimerHandle | None = None
    """Runs while the client takes nothing of what is ready for it."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if len(self.connections) > self.options.max_connections:
            self._is_surplus = True
            self.loop.call_later(SURPLUS_SECONDS, transport.close)
            return
        self._await_headers()

    def data_received(self, data: bytes) -> None:
        if self._is_surplus:
            self._refuse_surplus()
            return
        super().data_received(data)
        if self.conn.their_state is not h11.IDLE:
            self._stop_waiting()
        elif self._late is None and not self.transport.is_closing():
            self._await_headers()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self.conn.their_state is h11.IDLE and self.conn.trailing_data[0]:
            self._await_headers()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_waiting()
        self._take_again()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        super().pause_writing()
        # An orderly close would wait for the client to take the rest.
        self._stuck = self.loop.call_later(self.options.write_seconds, self.transport.abort)

    def resume_writing(self) -> None:
        self._take_again()
        super().resume_writing()

    def send_400_response(self, msg: str) -> None:
        """What is no HTTP at all is answered in the shape of every other refusal."""
        self.refuse(400, msg, "invalid_http")

    def _refuse_surplus(self) -> None:
        """Answered once it has asked and closed a little later: closing on unread bytes would lose the answer."""
        if not self._is_told:
            self._is_told = True
            self.say(503, "Too many connections.", "too_many_connections")

    def refuse(self, status: int, message: str, code: str) -> None:
        """Answer without a request, and close."""
        self.say(status, message, code)
        self.transport.close()

    def say(self, status: int, message: str, code: str) -> None:
        body = json.dumps(error_body(message, status, None, code)).encode()
        lines = [
            f"HTTP/1.1 {status} {HTTPStatus(status).phrase}",
            "Content-Type: application/json",
            f"Content-Length: {len(body)}",
            "Connection: close",
            *(["Retry-After: 1"] if status == 503 else []),
        ]
        self.transport.write("\r\n".join([*lines, "", ""]).encode() + body)

    def _await_headers(self) -> None:
        self._stop_waiting()
        self._late = self.loop.call_later(self.options.header_seconds, self._too_late)

    def _too_late(self) -> None:
        self._late = None
        if not self.conn.trailing_data[0]:  # browsers open connections ahead and may never use them
            self.transport.close()
        elif not self.transport.is_closing():
            self.refuse(408, "The request's headers did not arrive in time.", "request_timeout")

    def _stop_waiting(self) -> None:
        if self._late is not None:
            self._late.cancel()
            self._late = None

    def _take_again(self) -> None:
        if self._stuck is not None:
            self._stuck.cancel()
            self._stuck = None


def for_options(options: Serve) -> type[Any]:
    """A connection's class for one server."""
    return type("ServerConnection", (Connection,), {"options": options})
