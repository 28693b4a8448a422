"""uvicorn's server, ended in order: after SIGTERM or Ctrl-C it begins nothing more, running replies finish, and only
then the door closes. A second signal ends it at once."""

from __future__ import annotations

import contextlib
import signal
import threading
import time
from collections.abc import Iterator
from types import FrameType

import uvicorn
from fastapi import FastAPI

from hanlin.use.serve.access.connection import for_options
from hanlin.use.serve.front import Front
from hanlin.use.serve.watch.recorder import Live

SIGNALS = (signal.SIGINT, signal.SIGTERM)
FLUSH_SECONDS = 2
"""Time for the last bytes, once the replies have ended."""


class Server(uvicorn.Server):
    """While it drains the door stays open: /health answers 503, so that a balancer sends nobody here any more, and new
    requests are told so."""

    def __init__(self, config: uvicorn.Config, live: Live, drain_seconds: float):
        super().__init__(config)
        self._live, self._drain_seconds = live, drain_seconds
        self._until = 0.0
        self._said = False

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        if self._live.draining:
            self._live.end_all()
            self.should_exit = self.force_exit = True
        else:
            self._until = time.monotonic() + self._drain_seconds
            self._live.draining = True

    async def on_tick(self, counter: int) -> bool:
        if self.force_exit:
            for connection in list(self.server_state.connections):
                connection.transport.abort()
        elif self._live.draining and not self.should_exit:
            self._say_once()
            if time.monotonic() >= self._until:
                self._live.end_all()
                self.should_exit = True
            elif not self._live.accounts:
                self.should_exit = True
        return await super().on_tick(counter)

    def _say_once(self) -> None:
        if not self._said and self._live.accounts:
            self._said = True
            print(f"Stopping: {len(self._live.accounts)} under way. Once more ends them at once.", flush=True)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:  # type: ignore[override]
        """uvicorn raises its signals once more at the end, which would make an orderly end a failure."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {sig: signal.signal(sig, self.handle_exit) for sig in SIGNALS}
        try:
            yield
        finally:
            for sig, handler in before.items():
                signal.signal(sig, handler)


def server_of(app: FastAPI) -> Server:
    """The server of an application made by `create_app`, with that application's options."""
    front: Front = app.state.front
    options = front.config
    settings = uvicorn.Config(
        app,
        http=for_options(options),
        ws="none",
        log_level="error",
        access_log=False,
        proxy_headers=False,
        timeout_keep_alive=options.keep_alive_seconds,
        timeout_graceful_shutdown=FLUSH_SECONDS,
        h11_max_incomplete_event_size=options.max_header_bytes + 2**12,
        ssl_certfile=options.tls_cert or None,
        ssl_keyfile=options.tls_key or None,
    )
    return Server(settings, front.live, options.drain_seconds)
