"""Our server in front of llama.cpp: the official OpenAI client, a small GGUF file, a real llama.cpp."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest
from backends_gguf import write_small
from chat_templates import tokenizer_of
from serving import Running, running_app

from hanlin.core.generate.engine import Engine
from hanlin.core.generate.reply import Piece
from hanlin.core.generate.sampling import GREEDY, Sampling
from hanlin.core.model.opening import open_model
from hanlin.core.run.config import build, parse_overrides
from hanlin.core.run.errors import HanlinError
from hanlin.use.serve.app import create_app
from hanlin.use.serve.backend import Backend
from hanlin.use.serve.backends.opening import open_served
from hanlin.use.serve.config import Serve
from hanlin.use.serve.models import Models

pytest.importorskip("xllamacpp")

MESSAGES: list[Any] = [{"role": "user", "content": "人民有無集會之自由？"}]
TOOL: Any = {
    "type": "function",
    "function": {
        "name": "look_up",
        "parameters": {
            "type": "object",
            "properties": {"article": {"type": "integer", "minimum": 1, "maximum": 9}},
            "required": ["article"],
            "additionalProperties": False,
        },
    },
}
OPTIONS = ("engine=llama", "llama.slots=2", "llama.threads=1", "llama.max_waiting=1", "name=small")


def opened(path: Path) -> tuple[Models, Serve]:
    config = build(Serve, parse_overrides(OPTIONS), "serve")
    return open_served(path, config), config


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_small(tmp_path_factory.mktemp("gguf") / "small.gguf", tokenizer_of("qwen3"))


@pytest.fixture(scope="module")
def server(file: Path) -> Iterator[Running]:
    with running_app(create_app(*opened(file))) as started:
        yield started


@pytest.fixture(scope="module")
def client(server: Running) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0, timeout=60) as made:
        yield made


async def collected(backend: Backend, prompt: list[int], sampling: Sampling) -> list[Piece]:
    return [piece async for piece in backend.start(prompt, sampling).pieces()]


def test_it_writes_what_our_engine_writes(server: Running, file: Path) -> None:
    """Greedy, in float16: replies that hang on rounding are told by our own logits and left out."""
    ours, compared = open_model(file), 0
    (model,) = server.app.state.models.served
    for prompt in ("人民有集會之自由", "國家為保障", "台灣最高的山", "法律", "a cat"):
        ids = model.tokenizer.encode(prompt)
        sampling = GREEDY.model_copy(update={"max_tokens": 24, "top_logprobs": 2})
        expected = list(Engine(ours).stream(ids, sampling))
        best = [piece.logprobs.likeliest for piece in expected if piece.logprobs]
        if min(first - second for (_, first), (_, second) in best) < 0.05:
            continue
        pieces = asyncio.run(collected(model.backend, ids, sampling.model_copy(update={"top_logprobs": None})))
        assert [p.token for p in pieces] == [p.token for p in expected], prompt
        assert "".join(p.text for p in pieces) == "".join(p.text for p in expected)
        assert (pieces[-1].finish, pieces[-1].num_tokens) == (expected[-1].finish, expected[-1].num_tokens)
        compared += 1
    assert compared >= 2


def test_chat_and_usage(client: openai.OpenAI) -> None:
    reply = client.chat.completions.create(model="small", messages=MESSAGES, max_tokens=12, temperature=0)
    assert reply.choices[0].finish_reason in ("stop", "length")
    assert reply.usage is not None and 1 <= reply.usage.completion_tokens <= 12


def test_a_stream_says_the_same_as_the_whole(client: openai.OpenAI) -> None:
    asked: dict[str, Any] = {"model": "small", "messages": MESSAGES, "max_tokens": 20, "temperature": 0}
    whole = client.chat.completions.create(**asked).choices[0].message.content
    chunks = client.chat.completions.create(**asked, stream=True)
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices) == whole


def test_a_stop_text_ends_the_reply_and_is_not_shown(client: openai.OpenAI) -> None:
    asked: dict[str, Any] = {"model": "small", "prompt": "人民", "max_tokens": 16, "temperature": 0}
    whole = client.completions.create(**asked).choices[0].text
    stop = whole[2:4]
    cut = client.completions.create(**asked, stop=stop).choices[0]
    assert cut.text == whole[: whole.index(stop)] and cut.finish_reason == "stop"


def test_json_follows_the_schema(client: openai.OpenAI) -> None:
    schema = {"type": "object", "properties": {"n": {"type": "integer", "minimum": 1, "maximum": 9}}}
    schema |= {"required": ["n"], "additionalProperties": False}
    form: Any = {"type": "json_schema", "json_schema": {"name": "n", "schema": schema}}
    reply = client.chat.completions.create(model="small", messages=MESSAGES, response_format=form, max_tokens=40)
    content = reply.choices[0].message.content
    assert content is not None and content.startswith('{"n": ') and content.endswith("}")


def test_a_tool_that_must_be_called_is_called(client: openai.OpenAI) -> None:
    reply = client.chat.completions.create(
        model="small", messages=MESSAGES, tools=[TOOL], tool_choice="required", parallel_tool_calls=False, max_tokens=80
    )
    (call,) = reply.choices[0].message.tool_calls or []
    assert call.type == "function" and call.function.name == "look_up"
    assert call.function.arguments.startswith('{"article": ')
    assert reply.choices[0].finish_reason == "tool_calls"


def test_tools_may_be_left_alone(client: openai.OpenAI) -> None:
    reply = client.chat.completions.create(model="small", messages=MESSAGES, tools=[TOOL], max_tokens=4)
    assert not reply.choices[0].message.tool_calls


def test_logprobs(client: openai.OpenAI) -> None:
    reply = client.chat.completions.create(
        model="small", messages=MESSAGES, max_tokens=6, temperature=0, logprobs=True, top_logprobs=3
    )
    told = reply.choices[0].logprobs
    assert told is not None and told.content and reply.usage is not None
    known = [token for token in told.content if token.logprob > -9999]
    assert known and all(len(token.top_logprobs) == 3 for token in known)


@pytest.mark.parametrize(
    "asked", [{"presence_penalty": 1.0}, {"frequency_penalty": 0.5}, {"response_format": {"type": "json_schema"}}]
)
def test_what_it_can_not_do_is_refused(client: openai.OpenAI, asked: dict[str, Any]) -> None:
    with pytest.raises(openai.BadRequestError):
        client.chat.completions.create(model="small", messages=MESSAGES, **asked)


def test_a_client_that_leaves_frees_its_slot(server: Running, client: openai.OpenAI) -> None:
    long: dict[str, Any] = {"model": "small", "prompt": "人民", "max_tokens": 480, "logit_bias": {}}
    for _ in range(4):
        with client.completions.create(**long, stream=True) as chunks:
            next(iter(chunks))
    assert server.wait_until_idle()


def test_a_full_line_is_said(server: Running) -> None:
    (model,) = server.app.state.models.served

    async def too_many() -> int:
        jobs, refused = [], 0
        for _ in range(5):
            try:
                jobs.append(model.backend.start([1, 2, 3], GREEDY))
            except Exception as error:
                refused += getattr(error, "status", 0) == 429
        for job in jobs:
            job.cancel()
            assert [piece async for piece in job.pieces()] == []
        return refused

    assert asyncio.run(too_many()) == 2
    assert server.wait_until_idle()


def test_when_llama_cpp_dies_the_server_lives(file: Path) -> None:
    models, config = opened(file)
    with running_app(create_app(models, config)) as server:
        (model,) = models.served
        with openai.OpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0) as client:
            client.completions.create(model="small", prompt="人民", max_tokens=2)
            os.kill(model.backend.child.pid, signal.SIGKILL)
            deadline = time.monotonic() + 10
            while not model.backend.child.has_ended and time.monotonic() < deadline:
                time.sleep(0.01)
            with pytest.raises(openai.InternalServerError, match=r"llama\.cpp has stopped") as told:
                client.completions.create(model="small", prompt="人民", max_tokens=2)
            assert told.value.status_code == 503
            assert [card.id for card in client.models.list()] == ["small"]


def test_what_can_not_be_served_is_said(tmp_path: Path, file: Path) -> None:
    config = build(Serve, {"engine": "llama"}, "serve")
    with pytest.raises(HanlinError, match="reads GGUF files"):
        open_served(tmp_path, config)
    damaged = tmp_path / "cut.gguf"
    damaged.write_bytes(file.read_bytes()[:-4000])
    with pytest.raises(HanlinError):
        open_served(damaged, config)
    with pytest.raises(HanlinError, match="no adapters"):
        open_served(file, build(Serve, {"engine": "llama", "adapters": {"a": "b"}}, "serve"))
