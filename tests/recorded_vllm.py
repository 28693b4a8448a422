"""A loopback server that answers as recorded/vllm.json says. The letters among its ids stand for a tokenizer's."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from hanlin.core.text.tokenizer import Tokenizer

RECORDED = Path(__file__).with_name("recorded") / "vllm.json"


class Recorded(ThreadingHTTPServer):
    """answer: a stream's name, an error's status, "silent" (headers, one event and nothing more) or "dead" (one event,
    then the connection ends). bodies: what was asked. left: set when a client has gone in the middle of a stream."""

    daemon_threads = True

    def __init__(self, tokenizer: Tokenizer):
        text = RECORDED.read_text(encoding="utf-8")
        for name in ("a", "b", "c", "<|im_end|>"):
            text = text.replace(f'token_ids": ["{name}"', f'token_ids": [{tokenizer.id_of(name)}')
            text = text.replace(f', "{name}"]', f", {tokenizer.id_of(name)}]")
            text = text.replace(f"token_id:{name}", f"token_id:{tokenizer.id_of(name)}")
        self.said: dict[str, Any] = json.loads(text)
        self.answer = "plain"
        self.bodies: list[dict[str, Any]] = []
        self.left = threading.Event()
        super().__init__(("127.0.0.1", 0), _Handler)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class _Handler(BaseHTTPRequestHandler):
    server: Recorded

    def log_message(self, *_: Any) -> None:
        pass

    def do_GET(self) -> None:
        self._json(200, self.server.said["models"] if self.path == "/v1/models" else {})

    def do_POST(self) -> None:
        self.server.bodies.append(json.loads(self.rfile.read(int(self.headers["content-length"]))))
        answer = self.server.answer
        if answer in self.server.said["errors"]:
            self._json(int(answer), self.server.said["errors"][answer])
            return
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream; charset=utf-8")
        self.end_headers()
        events = self.server.said["streams"].get(answer, self.server.said["streams"]["plain"][:1])
        for event in events:
            self.wfile.write(f"data: {json.dumps(event)}\n\n".encode())
        if answer == "silent":
            self.connection.settimeout(10)
            if not self.connection.recv(1):  # the client has closed
                self.server.left.set()
        elif answer != "dead":
            self.wfile.write(b"data: [DONE]\n\n")

    def _json(self, status: int, value: Any) -> None:
        body = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@contextmanager
def recorded(tokenizer: Tokenizer) -> Iterator[Recorded]:
    with Recorded(tokenizer) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
