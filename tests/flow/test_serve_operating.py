"""A real server under an operator's conditions: slow clients, too many, TLS, a collector of spans, an orderly end."""

from __future__ import annotations

import gzip
import json
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import openai
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from serving import HOLDING, Script, running, scripted

from hanlin.core.run.errors import HanlinError
from hanlin.core.text.tokenizer import Tokenizer
from hanlin.use.serve.access.keys import KeyLimits, add_key
from hanlin.use.serve.access.tls import MAKE, check_tls
from hanlin.use.serve.config import Serve

CHAT = "/v1/chat/completions"
BODY = {"model": "tiny", "messages": [{"role": "user", "content": "人民有無集會之自由？"}]}
HEAD = b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"


def answer_to(port: int, sent: bytes) -> tuple[int, dict]:
    """What a raw request is answered; the server closes the connection by itself."""
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        connection.sendall(sent)
        said = b""
        while part := connection.recv(65536):
            said += part
    head, _, body = said.partition(b"\r\n\r\n")
    return int(head.split()[1]), json.loads(body)["error"]


def test_slow_senders_are_answered_408(tiny_tokenizer: Tokenizer, tmp_path: Path):
    loaded = scripted(tiny_tokenizer, Script(), tmp_path)
    with running(loaded, header_seconds=0.3, body_seconds=0.3, keep_alive_seconds=1) as started:
        status, error = answer_to(started.port, HEAD)
        assert (status, error["code"]) == (408, "request_timeout") and "headers" in error["message"]
        status, error = answer_to(started.port, HEAD + b"Content-Length: 500\r\n\r\n{")
        assert (status, error["code"]) == (408, "request_timeout") and "body" in error["message"]
        with socket.create_connection(("127.0.0.1", started.port), timeout=20) as silent:
            assert silent.recv(10) == b"", "who says nothing is told nothing"
        assert httpx.post(started.url + CHAT, json=BODY).status_code == 200


def test_what_is_no_http_and_what_is_too_long(tiny_tokenizer: Tokenizer, tmp_path: Path):
    loaded = scripted(tiny_tokenizer, Script(), tmp_path)
    with running(loaded, max_header_bytes=4096, keep_alive_seconds=1) as started:
        assert answer_to(started.port, b"\x16\x03\x01 hello\r\n\r\n")[1]["code"] == "invalid_http"
        assert answer_to(started.port, HEAD + b"X-Long: " + b"x" * 2**16 + b"\r\n\r\n")[0] in (400, 431)
        assert httpx.post(started.url + CHAT, json=BODY).status_code == 200


def test_one_connection_too_many_is_told_so(tiny_tokenizer: Tokenizer, tmp_path: Path):
    with running(scripted(tiny_tokenizer, Script(), tmp_path), max_connections=2) as started:
        with httpx.Client() as first, httpx.Client() as second:
            for client in (first, second):
                assert client.get(f"{started.url}/health").status_code == 200
            refused = httpx.get(f"{started.url}/health")
            assert refused.status_code == 503 and refused.json()["error"]["code"] == "too_many_connections"
        assert httpx.get(f"{started.url}/health").status_code == 200


def test_who_reads_nothing_is_cut_off_and_frees_the_model(tiny_tokenizer: Tokenizer, tmp_path: Path):
    script = Script(text=HOLDING * 200, seconds_per_token=0.0)
    loaded = scripted(tiny_tokenizer, script, tmp_path, context=20_000)
    with running(loaded, write_seconds=0.3, max_tokens=15_000) as started:
        body = json.dumps({**BODY, "stream": True, "max_tokens": 15_000}).encode()
        lazy = socket.socket()
        lazy.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        lazy.connect(("127.0.0.1", started.port))
        with lazy:
            lazy.sendall(HEAD + f"Content-Length: {len(body)}\r\n\r\n".encode() + body)
            assert started.wait_until_idle(seconds=30)
        script.text = HOLDING
        assert httpx.post(started.url + CHAT, json=BODY).status_code == 200


def test_a_key_of_the_official_client(tiny_tokenizer: Tokenizer, tmp_path: Path):
    keys = tmp_path / "keys.json"
    text = add_key(keys, "web", KeyLimits(requests_per_minute=1, models=("tiny",)))
    with running(scripted(tiny_tokenizer, Script(), tmp_path), keys=str(keys)) as started:
        with openai.OpenAI(base_url=f"{started.url}/v1", api_key=text, max_retries=0) as client:
            client.chat.completions.create(**BODY)
            with pytest.raises(openai.RateLimitError) as caught:
                client.chat.completions.create(**BODY)
            assert caught.value.code == "rate_limit_exceeded"
            assert int(caught.value.response.headers["retry-after"]) > 0
        with (
            openai.OpenAI(base_url=f"{started.url}/v1", api_key="other", max_retries=0) as client,
            pytest.raises(openai.AuthenticationError),
        ):
            client.models.list()


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with cert.pem and key.pem, made by the line that the error shows."""
    folder = tmp_path_factory.mktemp("tls")
    subprocess.run(MAKE.split(), cwd=folder, check=True, capture_output=True)
    return folder


def test_https(tiny_tokenizer: Tokenizer, tmp_path: Path, certificate: Path):
    files = {"tls_cert": str(certificate / "cert.pem"), "tls_key": str(certificate / "key.pem")}
    check_tls(Serve(**files))
    trusted = ssl.create_default_context(cafile=files["tls_cert"])
    with running(scripted(tiny_tokenizer, Script(), tmp_path), **files) as started:
        url = started.url.replace("http://", "https://")
        said = httpx.post(url + CHAT, json=BODY, headers={"origin": url}, verify=trusted)
        assert said.json()["choices"][0]["message"]["content"] == HOLDING


def test_files_that_are_no_certificate_say_what_to_do(tmp_path: Path, certificate: Path):
    cert, key = certificate / "cert.pem", certificate / "key.pem"
    other = tmp_path / "other.pem"
    locked = tmp_path / "locked.pem"
    for command in (
        f"openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out {other}",
        f"openssl pkey -in {key} -aes256 -passout pass:word -out {locked}",
    ):
        subprocess.run(command.split(), check=True, capture_output=True)
    for files, said in (
        ({"tls_cert": cert}, "tls_key is not"),
        ({"tls_cert": tmp_path / "none.pem", "tls_key": key}, "no file"),
        ({"tls_cert": cert, "tls_key": other}, "don't serve"),
        ({"tls_cert": cert, "tls_key": locked}, "password"),
        ({"tls_cert": key, "tls_key": key}, "don't serve"),
    ):
        with pytest.raises(HanlinError, match=said):
            check_tls(Serve(**{name: str(path) for name, path in files.items()}))


@contextmanager
def collector() -> Iterator[tuple[str, list[ExportTraceServiceRequest]]]:
    """A real receiver of OTLP over HTTP: its address and what it got."""
    got: list[ExportTraceServiceRequest] = []

    class Receiver(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            if self.headers.get("content-encoding") == "gzip":
                body = gzip.decompress(body)
            assert self.path == "/v1/traces"
            got.append(ExportTraceServiceRequest.FromString(body))
            self.send_response(200)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Receiver) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}", got
        server.shutdown()
        thread.join()


def test_a_collector_gets_the_spans_when_the_server_ends(tiny_tokenizer: Tokenizer, tmp_path: Path):
    with collector() as (url, got):
        with running(scripted(tiny_tokenizer, Script(), tmp_path), otel=url) as started:
            httpx.post(started.url + CHAT, json=BODY)
        spans = [
            span for sent in got for part in sent.resource_spans for scope in part.scope_spans for span in scope.spans
        ]
        assert sorted(span.name for span in spans) == ["chat tiny", "decode", "prefill", "queue"]
        assert len({span.trace_id for span in spans}) == 1


SERVE = """
import sys
from pathlib import Path
from serving import HOLDING, Script, scripted
from hanlin.core.text.tokenizer import load_tokenizer
from hanlin.use.serve.app import create_app
from hanlin.use.serve.config import Serve
from hanlin.use.serve.models import Models, served_model
from hanlin.use.serve.run import listen
from hanlin.use.serve.stopping import server_of

config = Serve(drain_seconds=float(sys.argv[2]))
loaded = scripted(load_tokenizer(Path(sys.argv[1])), Script(seconds_per_token=0.03), Path(sys.argv[1]))
app = create_app(Models([served_model(loaded, "tiny", config)]), config)
with listen("127.0.0.1", 0) as listener:
    print(listener.getsockname()[1], flush=True)
    server_of(app).run(sockets=[listener])
"""


@contextmanager
def process_of(folder: Path, drain_seconds: float) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A server in a process of its own, and its address."""
    command = [sys.executable, "-c", SERVE, str(folder), str(drain_seconds)]
    environment = {"PYTHONPATH": ":".join(path for path in sys.path if path)}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    ) as process:
        try:
            yield process, f"http://127.0.0.1:{int(process.stdout.readline())}"
        finally:
            process.kill()


def begin(client: httpx.Client, url: str) -> Iterator[str]:
    """The lines of a stream, of which one has come."""
    with client.stream("POST", url + CHAT, json={**BODY, "stream": True}, timeout=60) as response:
        yield from response.iter_lines()


def said_in(lines: Iterator[str]) -> str:
    events = [json.loads(line[6:]) for line in lines if line.startswith("data: {")]
    return "".join(event["choices"][0]["delta"].get("content") or "" for event in events if event.get("choices"))


posix = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGTERM for one process")


@posix
def test_a_stream_under_way_is_finished_after_sigterm(tiny_model_folder: Path):
    with process_of(tiny_model_folder, 60) as (process, url), httpx.Client() as client:
        lines = begin(client, url)
        first = next(lines)
        process.send_signal(signal.SIGTERM)
        wait_until(lambda: httpx.get(f"{url}/health").status_code == 503)
        assert httpx.get(f"{url}/health").json() == {"status": "draining"}
        refused = httpx.post(url + CHAT, json=BODY)
        assert refused.status_code == 503 and refused.json()["error"]["code"] == "stopping"
        assert said_in(iter([first, *lines])) == HOLDING
        said, complaints = process.communicate(timeout=20)
    assert (process.returncode, complaints) == (0, "")
    assert "under way" in said


@posix
def test_a_reply_longer_than_the_drain_is_ended_with_a_reason(tiny_model_folder: Path):
    with process_of(tiny_model_folder, 0.2) as (process, url), httpx.Client() as client:
        lines = begin(client, url)
        next(lines)
        process.send_signal(signal.SIGTERM)
        *_, last = [line for line in lines if line]
        assert json.loads(last.removeprefix("data: "))["error"]["code"] == "stopping"
        _, complaints = process.communicate(timeout=20)
    assert (process.returncode, complaints) == (0, "")


@posix
def test_a_second_signal_ends_it_at_once(tiny_model_folder: Path):
    with process_of(tiny_model_folder, 600) as (process, url), httpx.Client() as client:
        lines = begin(client, url)
        next(lines)
        process.send_signal(signal.SIGTERM)
        wait_until(lambda: httpx.get(f"{url}/health").status_code == 503)
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=20)
        with pytest.raises(httpx.HTTPError):
            assert HOLDING not in said_in(lines)
            raise httpx.ReadError("ended in order")
    assert process.returncode == 0


def wait_until(condition: object, seconds: float = 20.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.02)
