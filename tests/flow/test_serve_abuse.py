"""What no honest client sends: it is refused in words, or cut off, and the server goes on with its memory as it was."""

from __future__ import annotations

import gc
import json
import socket
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import psutil
import pytest
from serving import Running, Script, running, scripted

from hanlin.core.model.pretrained import load
from hanlin.core.text.tokenizer import Tokenizer

SLACK_BYTES = 300 * 2**20
"""How much more memory may be taken after all of it than before: what the allocator keeps, far below what was sent."""

CHAT = {"model": "tiny", "messages": [{"role": "user", "content": "好"}], "max_tokens": 4}


@pytest.fixture(scope="module")
def memory() -> Iterator[None]:
    """At the end this process has about as much memory as before."""
    before = psutil.Process().memory_info().rss
    yield
    gc.collect()
    assert psutil.Process().memory_info().rss - before < SLACK_BYTES


@pytest.fixture(scope="module")
def server(tiny_model_folder, memory: None) -> Iterator[Running]:
    """A real toy model, which forms and options work on."""
    with running(load(tiny_model_folder), max_tokens=16, body_seconds=1, engine={"max_waiting": 32}) as started:
        yield started


@pytest.fixture
def post(server: Running) -> Iterator[Callable[..., httpx.Response]]:
    """`post(body or bytes)` to the chat endpoint. Afterwards the server is idle and answers as ever."""
    with httpx.Client(base_url=server.url, timeout=30, trust_env=False) as client:

        def ask(body: Any, path: str = "/v1/chat/completions") -> httpx.Response:
            content = body if isinstance(body, bytes) else json.dumps(body).encode()
            return client.post(path, content=content, headers={"Content-Type": "application/json"})

        yield ask
        assert server.wait_until_idle()
        check_alive(server)


def check_alive(server: Running) -> None:
    with httpx.Client(base_url=server.url, timeout=30, trust_env=False) as client:
        assert client.get("/health").json() == {"status": "ok"}
        answer = client.post("/v1/chat/completions", json=CHAT)
    assert answer.status_code == 200, answer.text
    assert answer.json()["usage"]["completion_tokens"] >= 1


def refused(answer: httpx.Response, *statuses: int) -> None:
    """OpenAI's error object with a message, and one of these statuses."""
    assert answer.status_code in statuses, (answer.status_code, answer.text[:300])
    error = answer.json()["error"]
    assert error["message"] and error["type"]


DEEP = b"[" * 10_000 + b"]" * 10_000
NESTED: dict[str, Any] = {"type": "string"}
for _ in range(90):
    NESTED = {"type": "object", "properties": {"a": NESTED}}

BODIES: dict[str, tuple[Any, tuple[int, ...]]] = {
    "a prompt of a megabyte": ({**CHAT, "messages": [{"role": "user", "content": "好" * 340_000}]}, (413,)),
    "a prompt just within the bytes": ({**CHAT, "messages": [{"role": "user", "content": "a" * 1_000_000}]}, (400,)),
    "a thousand messages": ({**CHAT, "messages": CHAT["messages"] * 1000}, (400,)),
    "deep JSON": (DEEP, (400,)),
    "deep JSON in a field": (b'{"model": "tiny", "messages": ' + DEEP + b"}", (400,)),
    "deep JSON that never closes": (b'{"a":' * 10_000, (400,)),
    "no UTF-8": (b'{"model": "tiny", "messages": [{"role": "user", "content": "\xff\xfe"}]}', (400,)),
    "half a character": (b'{"model": "tiny", "messages": [{"role": "user", "content": "\\ud800"}]}', (400,)),
    "not JSON": (b"\x00\x01", (400,)),
    "nothing": (b"", (400,)),
    "a number of 5,000 digits": (b'{"model": "tiny", "seed": ' + b"9" * 5000 + b"}", (400,)),
    "no number": (b'{"model": "tiny", "messages": [{"role": "user", "content": "x"}], "temperature": NaN}', (400,)),
    "negative tokens": ({**CHAT, "max_tokens": -1}, (400,)),
    "no tokens": ({**CHAT, "max_tokens": 0}, (400,)),
    "negative replies": ({**CHAT, "n": -5}, (400,)),
    "a million replies": ({**CHAT, "n": 10**6}, (400,)),
    "negative top_logprobs": ({**CHAT, "logprobs": True, "top_logprobs": -1}, (400,)),
    "a seed beyond 64 bits": ({**CHAT, "seed": 2**70}, (400,)),
    "a huge logit_bias": ({**CHAT, "logit_bias": {str(token): 1 for token in range(50_000)}}, (400,)),
    "a bias beyond the vocabulary": ({**CHAT, "logit_bias": {"999999999": 1}}, (400,)),
    "a bias of no number": ({**CHAT, "logit_bias": {"1": 1e9}}, (400,)),
    "10,000 stop texts": ({**CHAT, "stop": ["x"] * 10_000}, (400,)),
    "10,000 choices": ({**CHAT, "choices": [str(number) for number in range(10_000)]}, (400,)),
    "a pattern that can't be read": ({**CHAT, "regex": "(((((" * 1000}, (400,)),
    "a grammar without end": ({**CHAT, "grammar": "start: " + "(" * 5000 + '"a"' + ")" * 5000}, (400,)),
    "a schema that contains itself alone": (
        {**CHAT, "json_schema": {"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/a"}}}},
        (400,),
    ),
    "a tool of a schema that is none": (
        {**CHAT, "tools": [{"type": "function", "function": {"name": "f", "parameters": {"type": 3}}}]},
        (400,),
    ),
    "template variables of our own names": ({**CHAT, "chat_template_kwargs": {"messages": []}}, (400,)),
}


@pytest.mark.parametrize(("body", "statuses"), BODIES.values(), ids=list(BODIES))
def test_is_refused_in_words(post: Callable[..., httpx.Response], body: Any, statuses: tuple[int, ...]) -> None:
    refused(post(body), *statuses)


HARD: dict[str, dict[str, Any]] = {
    "(a+)+$": {"regex": "(a+)+$"},
    "(a|a)*b": {"regex": "(a|a)*b"},
    "(.*a){25}": {"regex": "(.*a){25}"},
    "a bomb of repetitions": {"regex": "((((a{1,1000}){1,1000}){1,1000}){1,1000})"},
    "a pattern in a schema": {"json_schema": {"type": "string", "pattern": "^(([a-z])+.)+[A-Z]([a-z])+$"}},
    "a schema of 2,000 properties": {
        "json_schema": {"type": "object", "properties": {f"p{number}": {"type": "string"} for number in range(2000)}}
    },
    "a nested schema": {"json_schema": NESTED},
    "an enum of 20,000": {"json_schema": {"enum": [f"v{number}" for number in range(20_000)]}},
    "a tall anyOf": {"json_schema": {"anyOf": [{"type": "string", "maxLength": n} for n in range(1, 500)]}},
    "stop texts that nearly match": {"stop": ["a" * 2000 + "b"] * 16},
    "duplicates with a bias": {"logit_bias": {"1": 100, "01": -100}},
    "all options at once": {"dry_multiplier": 100, "no_repeat_ngram": 1, "mirostat": 2, "frequency_penalty": 2},
}


@pytest.mark.parametrize("options", HARD.values(), ids=list(HARD))
def test_is_answered_or_refused_in_time(post: Callable[..., httpx.Response], options: dict[str, Any]) -> None:
    answer = post({**CHAT, **options})
    if answer.status_code != 200:
        refused(answer, 400)


def test_of_two_keys_of_one_name_the_last_counts(post: Callable[..., httpx.Response]) -> None:
    answer = post(json.dumps(CHAT).replace('"max_tokens": 4', '"max_tokens": 4, "max_tokens": 2').encode())
    assert answer.status_code == 200 and answer.json()["usage"]["completion_tokens"] <= 2


@pytest.mark.parametrize("path", ["/v1/embeddings", "/tokenize", "/detokenize", "/v1/completions"])
@pytest.mark.parametrize("body", [DEEP, b"\xff", b"[]", b'"x"', b'{"model": 1}', b'{"tokens": [-1], "prompt": -1}'])
def test_every_endpoint_refuses(post: Callable[..., httpx.Response], path: str, body: bytes) -> None:
    refused(post(body, path), 400)


def connect(server: Running) -> socket.socket:
    return socket.create_connection(("127.0.0.1", server.port), timeout=20)


def head(length: int) -> bytes:
    lines = ("POST /v1/chat/completions HTTP/1.1", "Host: 127.0.0.1", "Content-Type: application/json")
    return "\r\n".join([*lines, f"Content-Length: {length}", "", ""]).encode()


def test_a_body_that_never_ends_is_answered(server: Running) -> None:
    with connect(server) as line:
        line.sendall(head(1000) + b'{"model": ')
        assert b" 408 " in line.recv(4096).split(b"\r\n")[0]
    check_alive(server)


def test_a_body_larger_than_it_says_it_is(server: Running) -> None:
    with connect(server) as line:
        line.sendall(head(10**12))
        assert b" 413 " in line.recv(4096).split(b"\r\n")[0]
    with connect(server) as line:
        line.sendall(b"POST /tokenize HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: chunked\r\n\r\n")
        status = b""
        with line:
            for _ in range(40):
                try:
                    line.sendall(b"10000\r\n" + b"x" * 65536 + b"\r\n")
                except OSError:
                    break
            try:
                status = line.recv(4096).split(b"\r\n")[0]
            except ConnectionError:  # it hung up with our bytes unread
                status = b" 413 "
        assert b" 413 " in status
    check_alive(server)


@pytest.mark.parametrize("start", [b"\x16\x03\x01\x02\x00", b"GET / HTTP/9.9\r\n\r\n", b"\r\n" * 50 + b"x y z\r\n\r\n"])
def test_what_is_no_http_is_refused(server: Running, start: bytes) -> None:
    with connect(server) as line:
        line.sendall(start + b"\r\n\r\n")
        line.shutdown(socket.SHUT_WR)
        answer = line.recv(4096)
    assert not answer or answer.startswith(b"HTTP/1.1 4")
    check_alive(server)


def test_blocks_come_back_whatever_was_asked(server: Running) -> None:
    """After all the above the engine holds none."""
    (served,) = server.app.state.models.served
    assert server.wait_until_idle()
    blocks = served.backend._engine.blocks
    assert blocks.num_available == blocks.num_blocks


@pytest.fixture
def slow_server(tiny_tokenizer: Tokenizer, tmp_path) -> Iterator[tuple[Running, Script]]:
    script = Script(seconds_per_token=0.02)
    engine = {"max_streams": 4, "max_waiting": 600}
    with running(scripted(tiny_tokenizer, script, tmp_path), engine=engine) as started:
        yield started, script


STREAM = json.dumps({**CHAT, "max_tokens": 200, "stream": True}).encode()


def test_clients_that_vanish_free_their_place(slow_server: tuple[Running, Script]) -> None:
    server, script = slow_server
    for _ in range(30):
        with connect(server) as line:
            line.sendall(head(len(STREAM)) + STREAM)
            line.recv(10)
    script.seconds_per_token = 0.0
    assert server.wait_until_idle()
    check_alive(server)


def test_a_slow_reader_holds_up_nobody(slow_server: tuple[Running, Script]) -> None:
    server, script = slow_server
    with connect(server) as line:
        line.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1024)
        line.sendall(head(len(STREAM)) + STREAM)
        line.recv(1)
        script.seconds_per_token = 0.0
        check_alive(server)
    assert server.wait_until_idle()


def test_500_connections_at_once(slow_server: tuple[Running, Script]) -> None:
    server, script = slow_server
    script.seconds_per_token = 0.0
    idle = [connect(server) for _ in range(400)]
    with httpx.Client(base_url=server.url, timeout=60, trust_env=False) as client, ThreadPoolExecutor(100) as pool:
        answers = list(pool.map(lambda _: client.post("/v1/chat/completions", json=CHAT).status_code, range(100)))
    for line in idle:
        line.close()
    assert set(answers) == {200}
    assert server.wait_until_idle()
    check_alive(server)


def test_more_than_may_wait_are_told_to_come_back(tiny_tokenizer: Tokenizer, tmp_path) -> None:
    script = Script(seconds_per_token=0.02)
    with (
        running(scripted(tiny_tokenizer, script, tmp_path), engine={"max_streams": 1, "max_waiting": 2}) as server,
        httpx.Client(base_url=server.url, timeout=60, trust_env=False) as client,
    ):
        with ThreadPoolExecutor(20) as pool:
            answers = list(pool.map(lambda _: client.post("/v1/chat/completions", json=CHAT), range(20)))
        for answer in answers:
            if answer.status_code != 200:
                refused(answer, 429)
                assert answer.headers["retry-after"]
        assert {answer.status_code for answer in answers} == {200, 429}
        assert server.wait_until_idle()
        check_alive(server)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("broken_after", [0, 3])
def test_a_model_that_makes_no_numbers(tiny_tokenizer: Tokenizer, tmp_path, broken_after: int, stream: bool) -> None:
    script = Script(broken_after=broken_after)
    with running(scripted(tiny_tokenizer, script, tmp_path)) as server:
        asked = {**CHAT, "max_tokens": 20, "stream": stream}
        with httpx.Client(base_url=server.url, timeout=30, trust_env=False) as client:
            answer = client.post("/v1/chat/completions", json=asked)
        if stream and broken_after:
            last = answer.text.strip().split("\n\n")[-1]
            assert json.loads(last.removeprefix("data: "))["error"]["code"] == "generation_failed"
        else:
            refused(answer, 500)
        script.broken_after = None
        assert server.wait_until_idle()
        check_alive(server)
