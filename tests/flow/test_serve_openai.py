"""A real server and the official OpenAI client."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import openai
import pytest
from serving import HOLDING, Running, Script, running, scripted

import hanlin
from hanlin.core.text.tokenizer import Tokenizer

MESSAGES = [{"role": "user", "content": "人民有無集會之自由？"}]


@pytest.fixture(scope="module")
def script() -> Script:
    return Script()


@pytest.fixture(scope="module")
def server(tiny_tokenizer: Tokenizer, tmp_path_factory: pytest.TempPathFactory, script: Script) -> Iterator[Running]:
    """A server whose model says the script."""
    loaded = scripted(tiny_tokenizer, script, tmp_path_factory.mktemp("scripted"))
    with running(loaded, engine={"max_streams": 1, "max_waiting": 2}) as started:
        yield started


@pytest.fixture(scope="module")
def client(server: Running) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0, timeout=30) as made:
        yield made


@pytest.fixture
def slow(script: Script) -> Iterator[Script]:
    """The script at a pace that leaves time to do something meanwhile."""
    script.seconds_per_token = 0.05
    yield script
    script.seconds_per_token = 0.0


def test_chat(client: openai.OpenAI):
    reply = client.chat.completions.create(model="tiny", messages=MESSAGES)
    assert reply.choices[0].message.content == HOLDING
    assert reply.choices[0].finish_reason == "stop"
    assert reply.usage.total_tokens == reply.usage.prompt_tokens + reply.usage.completion_tokens


def test_chat_stream(client: openai.OpenAI):
    chunks = list(
        client.chat.completions.create(
            model="tiny", messages=MESSAGES, stream=True, stream_options={"include_usage": True}
        )
    )
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert text == HOLDING
    assert chunks[-1].usage.completion_tokens > 10
    assert [chunk.choices[0].finish_reason for chunk in chunks if chunk.choices][-1] == "stop"


def test_completions(client: openai.OpenAI):
    assert client.completions.create(model="tiny", prompt="人民").choices[0].text == HOLDING
    chunks = client.completions.create(model="tiny", prompt="人民", stream=True)
    assert "".join(chunk.choices[0].text for chunk in chunks) == HOLDING


def test_models(client: openai.OpenAI):
    assert [model.id for model in client.models.list()] == ["tiny"]
    assert client.models.retrieve("tiny").id == "tiny"


def test_stop_text_and_length(client: openai.OpenAI):
    stopped = client.chat.completions.create(model="tiny", messages=MESSAGES, stop="憲法").choices[0]
    assert (stopped.message.content, stopped.finish_reason) == ("人民有集會之自由，", "stop")
    cut = client.chat.completions.create(model="tiny", messages=MESSAGES, max_completion_tokens=4)
    assert (cut.choices[0].finish_reason, cut.usage.completion_tokens) == ("length", 4)


def test_errors_are_the_clients_own_kinds(client: openai.OpenAI):
    create = client.chat.completions.create
    with pytest.raises(openai.NotFoundError) as caught:
        create(model="gpt-5", messages=MESSAGES)
    assert caught.value.code == "model_not_found"
    with pytest.raises(openai.BadRequestError) as caught:
        create(model="tiny", messages=[{"role": "user", "content": "憲法" * 2000}])
    assert caught.value.code == "context_length_exceeded"
    with pytest.raises(openai.BadRequestError) as caught:
        create(model="tiny", messages=MESSAGES, temperature=3)
    assert caught.value.param == "temperature"
    with pytest.raises(openai.BadRequestError) as caught:
        create(model="tiny", messages=MESSAGES, modalities=["audio"])
    assert caught.value.param == "modalities"


def test_a_broken_model_fails_one_request_and_the_server_lives(client: openai.OpenAI, script: Script):
    script.broken_after = 0
    with pytest.raises(openai.InternalServerError):
        client.chat.completions.create(model="tiny", messages=MESSAGES)
    script.broken_after = 5
    with pytest.raises(openai.APIError):
        list(client.chat.completions.create(model="tiny", messages=MESSAGES, stream=True))
    script.broken_after = None
    test_chat(client)


def test_two_at_once_are_both_answered(client: openai.OpenAI):
    with ThreadPoolExecutor(2) as pool:
        replies = list(pool.map(lambda _: client.chat.completions.create(model="tiny", messages=MESSAGES), range(2)))
    assert [reply.choices[0].message.content for reply in replies] == [HOLDING] * 2


def test_a_full_queue_answers_429(client: openai.OpenAI, server: Running, slow: Script):
    """One is answered, two wait, the fourth is refused."""
    streams = [threading.Thread(target=_ask_quietly, args=(client,)) for _ in range(3)]
    for stream in streams:
        stream.start()
    _wait_for(lambda: server.app.state.models.num_jobs == 3)
    with pytest.raises(openai.RateLimitError):
        client.chat.completions.create(model="tiny", messages=MESSAGES)
    slow.seconds_per_token = 0.0
    for stream in streams:
        stream.join()
    assert server.wait_until_idle()


@pytest.mark.parametrize("stream", [True, False])
def test_a_client_that_leaves_frees_the_model(server: Running, slow: Script, stream: bool):
    body = {"model": "tiny", "messages": MESSAGES, "stream": stream, "max_tokens": 256}
    with pytest.raises(httpx.ReadTimeout):
        httpx.post(f"{server.url}/v1/chat/completions", json=body, timeout=httpx.Timeout(5, read=0.04)).read()
    assert server.wait_until_idle(seconds=1.0), "a reply that nobody reads must not go on"


def test_a_client_that_leaves_in_the_middle_of_a_stream_frees_the_model(
    server: Running, client: openai.OpenAI, slow: Script
):
    with client.chat.completions.create(model="tiny", messages=MESSAGES, stream=True) as stream:
        said = [next(stream) for _ in range(4)]
    assert said[-1].choices[0].delta.content
    assert server.wait_until_idle(seconds=1.0)


def test_a_client_that_gives_up_frees_the_model(server: Running, client: openai.OpenAI, slow: Script):
    impatient = client.with_options(timeout=httpx.Timeout(5, read=0.04))
    with pytest.raises(openai.APITimeoutError):
        impatient.chat.completions.create(model="tiny", messages=MESSAGES, n=2)
    assert server.wait_until_idle(seconds=1.0)
    with client.chat.completions.create(model="tiny", messages=MESSAGES, n=2, stream=True) as stream:
        next(stream)
    assert server.wait_until_idle(seconds=1.0)


def test_a_client_that_leaves_the_queue_is_never_served(server: Running, client: openai.OpenAI, slow: Script):
    slow.prompts.clear()
    first = threading.Thread(target=_ask_quietly, args=(client,))
    first.start()
    _wait_for(lambda: len(slow.prompts) == 1)
    body = {"model": "tiny", "messages": MESSAGES}
    with pytest.raises(httpx.ReadTimeout):
        httpx.post(f"{server.url}/v1/chat/completions", json=body, timeout=httpx.Timeout(5, read=0.2))
    _wait_for(lambda: server.app.state.models.num_jobs == 1)
    slow.seconds_per_token = 0.0
    first.join()
    assert server.wait_until_idle()
    assert len(slow.prompts) == 1


def test_a_foreign_host_is_refused(server: Running):
    response = httpx.get(f"{server.url}/v1/models", headers={"host": f"attacker.example:{server.port}"})
    assert response.status_code == 403
    assert response.json()["error"]["code"] == "host_not_allowed"


def test_half_a_request_keeps_nobody_waiting(server: Running, client: openai.OpenAI):
    with socket.create_connection(("127.0.0.1", server.port)) as lazy:
        lazy.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: 500\r\n\r\n{")
        test_chat(client)


def test_the_token_is_the_clients_api_key(tiny_tokenizer: Tokenizer, tmp_path: Path):
    with running(scripted(tiny_tokenizer, Script(), tmp_path), token="secret") as guarded:
        for key, expected in (("secret", None), ("wrong", openai.AuthenticationError)):
            with openai.OpenAI(base_url=f"{guarded.url}/v1", api_key=key, max_retries=0) as client:
                if expected is None:
                    assert client.models.list().data[0].id == "tiny"
                else:
                    with pytest.raises(expected):
                        client.models.list()


def test_a_real_model_says_the_same_with_the_same_seed(tiny_model_folder: Path):
    loaded = hanlin.load(tiny_model_folder)
    with running(loaded) as started, openai.OpenAI(base_url=f"{started.url}/v1", api_key="none") as client:

        def say(**fields: object) -> str:
            reply = client.chat.completions.create(model="tiny", messages=MESSAGES, max_tokens=24, **fields)
            return reply.choices[0].message.content

        assert say(seed=7, temperature=1.0) == say(seed=7, temperature=1.0)
        assert say(temperature=0) == say(temperature=0)
        assert say(seed=7, temperature=1.0) != say(seed=8, temperature=1.0)
        assert say(seed=7) == "".join(hanlin.chat(loaded, MESSAGES, max_tokens=24, seed=7)), "server = Python API"


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGINT for one process")
def test_ctrl_c_ends_the_server_in_the_middle_of_a_reply(tiny_model_folder: Path):
    code = "import sys; from hanlin.use.serve.config import Serve; from hanlin.use.serve.run import serve; "
    code += "serve(sys.argv[1], Serve(port=0))"
    command = [sys.executable, "-c", code, str(tiny_model_folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            url = next(line.split()[-1] for line in process.stdout if "chat page" in line)
            body = {"model": "tiny", "messages": MESSAGES, "stream": True}
            with httpx.stream("POST", f"{url}v1/chat/completions", json=body) as response:
                next(response.iter_lines())
                process.send_signal(signal.SIGINT)
                said, complaints = process.communicate(timeout=15)
        finally:
            process.kill()
    assert (process.returncode, complaints) == (0, "")
    assert said.endswith("Stopped.\n")


def _ask_quietly(client: openai.OpenAI) -> None:
    client.chat.completions.create(model="tiny", messages=MESSAGES, max_tokens=60)


def _wait_for(condition: object, seconds: float = 5.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.01)
