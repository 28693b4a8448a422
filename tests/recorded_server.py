"""A provider's API played from a file of conversations: what must be asked, and the bytes that answer it.

The files of unit/core/connect/recorded were written after the providers' documents and the types of their own client
packages. They are not captures: no provider was reached. `test_recorded_files.py` reads every one with those types.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent / "unit" / "core" / "connect" / "recorded"


def cases(provider: str) -> dict[str, list[dict[str, Any]]]:
    """Exchanges by the name of their case. An exchange: path; request, the body that must come (where it matters);
    status, headers; events (a stream), body (JSON) or raw (text); cut_after, events after which the line breaks."""
    return json.loads((FOLDER / f"{provider}.json").read_text(encoding="utf-8"))["cases"]


def stream_bytes(provider: str, events: list[Any]) -> list[bytes]:
    """Each event as this provider sends it."""
    texts = [event if isinstance(event, str) else json.dumps(event, ensure_ascii=False) for event in events]
    if provider == "anthropic":
        kinds = [event["type"] if isinstance(event, dict) else "message" for event in events]
        return [f"event: {kind}\ndata: {text}\n\n".encode() for kind, text in zip(kinds, texts, strict=True)]
    return [f"data: {text}\n\n".encode() for text in texts]


class Playing:
    """url: the server's. asked: bodies that came. headers: theirs. problems: what was not as recorded."""

    def __init__(self, provider: str, exchanges: list[dict[str, Any]]):
        self.provider, self.left = provider, list(exchanges)
        self.url = ""
        self.asked: list[Any] = []
        self.headers: list[dict[str, str]] = []
        self.problems: list[str] = []

    def next(self, path: str, body: Any) -> dict[str, Any]:
        if not self.left:
            self.problems.append(f"one request too many: {path}")
            return {"status": 418, "body": {"error": {"message": "nothing is left"}}}
        exchange = self.left.pop(0)
        if path != exchange["path"]:
            self.problems.append(f"asked {path}, recorded {exchange['path']}")
        if "request" in exchange and body != exchange["request"]:
            self.problems.append(f"asked    {json.dumps(body, ensure_ascii=False, sort_keys=True)}")
            self.problems.append(f"recorded {json.dumps(exchange['request'], ensure_ascii=False, sort_keys=True)}")
        return exchange


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    playing: Playing

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.playing.asked.append(body)
        self.playing.headers.append({name.lower(): value for name, value in self.headers.items()})
        self._answer(self.playing.next(self.path, body))

    def _answer(self, exchange: dict[str, Any]) -> None:
        self.send_response(exchange.get("status", 200))
        for name, value in exchange.get("headers", {}).items():
            self.send_header(name, value)
        if "events" not in exchange:
            whole = exchange.get("raw") or json.dumps(exchange["body"], ensure_ascii=False)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(whole.encode())))
            self.end_headers()
            self.wfile.write(whole.encode())
            return
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        pieces = stream_bytes(self.playing.provider, exchange["events"])
        for piece in pieces[: exchange.get("cut_after")]:
            # In two chunks, cut where it hurts: within a character, if there is one of several bytes.
            half = next((place + 1 for place, byte in enumerate(piece) if byte >= 0xC0), len(piece) // 2)
            for part in (piece[:half], piece[half:]):
                self.wfile.write(f"{len(part):x}\r\n".encode() + part + b"\r\n")
        if "cut_after" in exchange:
            self.close_connection = True  # without the last chunk: the line is broken
        else:
            self.wfile.write(b"0\r\n\r\n")

    def log_message(self, format: str, *args: Any) -> None:
        pass


@contextmanager
def playing(provider: str, case: str) -> Iterator[Playing]:
    """A server on a free port that answers as recorded; at the end everything recorded has been asked."""
    played = Playing(provider, cases(provider)[case])
    handler = type("Handler", (_Handler,), {"playing": played})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    played.url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield played
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
    assert not played.problems, "\n".join(played.problems)
    assert not played.left, f"{len(played.left)} recorded exchanges were not asked for"
