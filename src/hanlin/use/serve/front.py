"""What stands in front of the routes, put together from the options: the recorder, then CORS, the guard, the routes."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Protocol

from fastapi import FastAPI
from fastapi.responses import Response
from starlette.middleware.cors import CORSMiddleware

from hanlin.core.run.errors import HanlinError
from hanlin.use.serve.access.day_store import DayStore
from hanlin.use.serve.access.guard import Door, Guard
from hanlin.use.serve.access.keys import KeyFile
from hanlin.use.serve.access.quotas import Quotas
from hanlin.use.serve.config import Serve
from hanlin.use.serve.models import Models
from hanlin.use.serve.watch.account import Account
from hanlin.use.serve.watch.metrics import CONTENT_TYPE, Metrics
from hanlin.use.serve.watch.recorder import Live, Recorder, Sink
from hanlin.use.serve.watch.request_log import RequestLog

TOLD_HEADERS = (
    "x-request-id",
    "x-hanlin-ignored",
    "retry-after",
    *(f"x-ratelimit-{what}-{of}" for what in ("limit", "remaining", "reset") for of in ("requests", "tokens")),
)


class Closing(Protocol):
    """A sink that has something to let go of."""

    def __call__(self, account: Account) -> None: ...

    def close(self) -> None: ...


class Front:
    """The middleware of one application and what it keeps. Raises HanlinError for files that can't be opened and an
    extra that is missing."""

    def __init__(self, app: FastAPI, models: Models, config: Serve, open_paths: Collection[str]):
        self.config = config
        keys = KeyFile(Path(config.keys)) if config.keys else None
        self._store = DayStore(Path(config.usage or f"{config.keys}.usage")) if config.keys else None
        self.live = Live()
        self.metrics = Metrics(self.live, models.served)
        self._closing: list[Closing] = []
        if config.log:
            self._closing.append(RequestLog(config.log))
        if config.otel:
            self._closing.append(_spans(config.otel))
        self._add_metrics(app)
        # The last one added is the first to see a request.
        app.add_middleware(Guard, door=Door(config, keys, open_paths))
        if config.cors:
            app.add_middleware(
                CORSMiddleware,
                allow_origins=config.cors,
                allow_methods=("GET", "POST"),
                allow_headers=("*",),
                expose_headers=TOLD_HEADERS,
            )
        self.sinks: list[Sink] = [self.metrics, *self._closing]
        app.add_middleware(Recorder, config=config, quotas=Quotas(self._store), live=self.live, sinks=self.sinks)

    def close(self) -> None:
        """At the application's end: nothing is written any more."""
        for sink in self._closing:
            sink.close()
        if self._store is not None:
            self._store.close()

    def _add_metrics(self, app: FastAPI) -> None:
        @app.get("/metrics", include_in_schema=False)
        async def metrics() -> Response:
            return Response(self.metrics.text(), media_type=CONTENT_TYPE)


def _spans(url: str) -> Closing:
    try:
        from hanlin.use.serve.watch.spans import Spans, exporter_to
    except ImportError as error:
        raise HanlinError(
            f"otel= needs the package {error.name}, which is not installed.",
            "the extra named trace",
            'pip install "hanlin[trace]"',
            "docs/serve.md#traces",
        ) from None
    return Spans(exporter_to(url))
