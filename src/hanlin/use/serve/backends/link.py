"""Another program's server over HTTP: a request's events as they come. Closing the connection tells it to stop."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from typing import Any

import httpx

from hanlin.use.serve.errors import ApiError

MAX_EVENT_BYTES = 2**24
"""A longer line is no event: something else answers at this address."""


class Link:
    """name: the program's, for messages. url: where it listens, without a slash at the end."""

    def __init__(self, name: str, url: str, key: str = ""):
        self.name, self.url = name, url.rstrip("/")
        self._headers = {"Authorization": f"Bearer {key}"} if key else {}
        self._client: httpx.AsyncClient | None = None

    async def events(self, path: str, body: Mapping[str, Any]) -> AsyncIterator[dict[str, Any]]:
        """The objects of a stream of server-sent events; of a plain JSON answer that one object.

        Raises ApiError: 400 for what the program refuses, 429 or 503 where it is full, 502 where it does not answer,
        breaks off or speaks otherwise.
        """
        try:
            async with self._opened().stream("POST", f"{self.url}{path}", json=body, headers=self._headers) as answer:
                if answer.status_code != 200:
                    raise self._refusal(answer.status_code, await answer.aread())
                if answer.headers.get("content-type", "").startswith("application/json"):
                    yield self._object(await answer.aread())
                    return
                async for line in self._lines(answer):
                    if line.startswith(b"data:") and (data := line[5:].strip()) != b"[DONE]":
                        yield self._event(data)
        except httpx.HTTPError as error:
            raise ApiError(502, f"{self.name} does not answer ({_reason(error)}).", code="backend_gone") from None

    def get(self, path: str, timeout: float = 10.0) -> httpx.Response | None:
        """Before there is an event loop: an answer, None where nobody answers."""
        try:
            return httpx.get(f"{self.url}{path}", headers=self._headers, timeout=timeout, trust_env=False)
        except httpx.HTTPError:
            return None

    def _opened(self) -> httpx.AsyncClient:
        """A connection a request, nothing kept: nothing is left open, and a closed one is a stopped reply. Waiting for
        a slot may take any time; who asked decides how long."""
        if self._client is None:
            limits = httpx.Limits(max_connections=None, max_keepalive_connections=0)
            timeout = httpx.Timeout(None, connect=10.0)
            self._client = httpx.AsyncClient(limits=limits, timeout=timeout, trust_env=False)
        return self._client

    async def _lines(self, answer: httpx.Response) -> AsyncIterator[bytes]:
        """By line feeds alone: httpx's own lines also end where a text holds U+2028."""
        rest = b""
        async for part in answer.aiter_bytes():
            *lines, rest = (rest + part).split(b"\n")
            for line in lines:
                yield line
            if len(rest) > MAX_EVENT_BYTES:
                raise self._strange()
        yield rest

    def _event(self, data: bytes) -> dict[str, Any]:
        event = self._object(data)
        if "error" in event:
            raise self._refusal(_status(event), data)
        return event

    def _object(self, data: bytes) -> dict[str, Any]:
        try:
            value = json.loads(data)
        except ValueError:
            raise self._strange() from None
        if not isinstance(value, dict):
            raise self._strange()
        return value

    def _strange(self) -> ApiError:
        return ApiError(502, f"{self.name} answers with something else than JSON.", code="backend_strange")

    def _refusal(self, status: int, body: bytes) -> ApiError:
        message = f"{self.name}: {_message(body)}"
        if status in (400, 413, 422):
            return ApiError(400, message, code="backend_refused")
        if status in (429, 503):
            return ApiError(status, message, code="backend_full")
        return ApiError(502, message, code="backend_failed")


def _message(body: bytes) -> str:
    """What an error says: OpenAI's object, or the text itself."""
    try:
        error = json.loads(body)["error"]
        text = error["message"] if isinstance(error, dict) else error
    except (ValueError, KeyError, TypeError):
        text = body.decode(errors="replace")
    return str(text).strip()[:500] or "an error without words"


def _status(event: Mapping[str, Any]) -> int:
    error = event["error"]
    code = error.get("code") if isinstance(error, dict) else None
    return code if isinstance(code, int) else 500


def _reason(error: httpx.HTTPError) -> str:
    return str(error) or type(error).__name__
