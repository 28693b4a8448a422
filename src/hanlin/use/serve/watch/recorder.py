"""Stands before everything: every request has an id and an account, every failure an answer, and what became of it is
told to the log, the metrics and the spans."""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable, Sequence

from fastapi.responses import JSONResponse
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from hanlin.use.serve.access.quotas import Quotas
from hanlin.use.serve.config import Serve
from hanlin.use.serve.errors import ApiError, as_api_error, error_response
from hanlin.use.serve.watch.account import Account

SANE_ID = re.compile(r"[\w.:+/=-]{1,128}", re.ASCII)
WATCHED = ("/health", "/metrics")
"""Answered while the server is stopping too."""

Sink = Callable[[Account], None]


class Live:
    """The requests under way, and whether the server is stopping."""

    def __init__(self) -> None:
        self.accounts: set[Account] = set()
        self.draining = False

    def end_all(self) -> None:
        for account in list(self.accounts):
            account.end("stopping")


class Recorder:
    """ASGI middleware. sinks: called with each account when its request is over."""

    def __init__(self, app: ASGIApp, config: Serve, quotas: Quotas, live: Live, sinks: Sequence[Sink]):
        self._app, self._config, self._quotas, self._live, self._sinks = app, config, quotas, live, sinks

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        account = self._open(scope)
        scope.setdefault("state", {})["account"] = account
        self._live.accounts.add(account)
        account.begin()
        try:
            await self._answer(account, scope, receive, send)
        finally:
            self._live.accounts.discard(account)
            account.route = route_of(scope)
            account.close()
            for sink in self._sinks:
                sink(account)

    async def _answer(self, account: Account, scope: Scope, receive: Receive, send: Send) -> None:
        async def told(message: Message) -> None:
            if message["type"] == "http.response.start":
                account.status = message["status"]
                headers = MutableHeaders(scope=message)
                headers["x-request-id"] = account.id
                if account.key is not None:
                    for name, value in self._quotas.headers(account.key).items():
                        headers[name] = value
            await send(message)

        try:
            if self._live.draining and scope["path"] == "/health":
                await JSONResponse({"status": "draining"}, 503, {"Retry-After": "1"})(scope, receive, told)
                return
            if self._live.draining and scope["path"] not in WATCHED:
                raise ApiError(503, "The server is stopping.", code="stopping")
            await self._app(scope, receive, told)
        except Exception as error:
            if account.status >= 500:
                return  # answered and logged by the application's own handlers
            refusal = as_api_error(error)
            account.code = refusal.code or ""
            if account.status:
                return  # what was said cannot be taken back; the connection ends in its middle
            await error_response(refusal)(scope, receive, told)

    def _open(self, scope: Scope) -> Account:
        headers = Headers(scope=scope)
        given = headers.get("x-request-id", "")
        return Account(
            id=given if SANE_ID.fullmatch(given) else uuid.uuid4().hex,
            quotas=self._quotas,
            timeout_seconds=self._config.timeout_seconds,
            keeps_texts=self._config.log_prompts,
            method=scope["method"],
            traceparent=headers.get("traceparent", ""),
            tracestate=headers.get("tracestate", ""),
        )


def route_of(scope: Scope) -> str:
    """The route a request went to, or would have gone to; "" for a path of the client's own invention, so that nobody
    can fill the metrics with names."""
    found = getattr(scope.get("route"), "path", "")
    known = scope["path"] in (getattr(route, "path", "") for route in scope["app"].routes) if "app" in scope else False
    return found or (scope["path"] if known else "")
