"""Shapes of replies and errors, through the application in this process."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest
from serving import HOLDING, Script, scripted

from hanlin.core.text.tokenizer import Tokenizer
from hanlin.use.serve.app import PAGE_FILES, PAGE_FOLDER, create_app
from hanlin.use.serve.config import Serve
from hanlin.use.serve.models import Models, served_model

MESSAGES = [{"role": "user", "content": "人民有無集會之自由？"}]
CHAT, TEXT = "/v1/chat/completions", "/v1/completions"


class Api:
    """Requests to an application, each with the same model and options."""

    def __init__(self, tokenizer: Tokenizer, folder: Path, script: Script | None = None, **options: object):
        self.script = script or Script()
        self.tokenizer = tokenizer
        config = Serve(**{"engine": {"share_prefixes": False}, **options})
        loaded = scripted(tokenizer, self.script, folder, context=256)
        self.app = create_app(Models([served_model(loaded, "tiny", config)]), config)

    @asynccontextmanager
    async def client(self) -> AsyncIterator[httpx.AsyncClient]:
        # Failures are answered and then raised again for the server's log; here only the answer counts.
        transport = httpx.ASGITransport(self.app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            try:
                yield client
            finally:
                self.app.state.models.close()

    def request(self, method: str, path: str, **fields: object) -> httpx.Response:
        async def send() -> httpx.Response:
            async with self.client() as client:
                return await client.request(method, path, **fields)

        return asyncio.run(send())

    def post(self, path: str, headers: dict | None = None, **body: object) -> httpx.Response:
        return self.request("POST", path, json={"model": "tiny", **body}, headers=headers)


@pytest.fixture
def api(tiny_tokenizer: Tokenizer, tmp_path: Path) -> Api:
    return Api(tiny_tokenizer, tmp_path)


def check_error(response: httpx.Response, status: int, param: str | None, code: str | None) -> str:
    assert response.status_code == status, response.text
    error = response.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert (error["param"], error["code"]) == (param, code), error
    return error["message"]


def events(response: httpx.Response) -> list[dict]:
    lines = [line.removeprefix("data: ") for line in response.text.split("\n\n") if line]
    assert lines.pop() == "[DONE]"
    return [json.loads(line) for line in lines]


def test_chat_reply(api: Api):
    response = api.post(CHAT, messages=MESSAGES)
    body = response.json()
    assert body["object"] == "chat.completion"
    assert body["id"].startswith("chatcmpl-")
    assert body["choices"] == [
        {
            "index": 0,
            "message": {"role": "assistant", "content": HOLDING, "refusal": None},
            "logprobs": None,
            "finish_reason": "stop",
        }
    ]
    num_said = len(api.tokenizer.encode(HOLDING)) + 1
    num_read = len(api.script.prompts[0])
    assert body["usage"] == {
        "prompt_tokens": num_read,
        "completion_tokens": num_said,
        "total_tokens": num_read + num_said,
        "prompt_tokens_details": {"cached_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": 0},
    }
    assert HOLDING in response.text, "Chinese is not escaped"


def test_text_reply_stops_at_its_limit(api: Api):
    body = api.post(TEXT, prompt="人民", max_tokens=3).json()
    assert body["object"] == "text_completion"
    assert body["choices"][0]["finish_reason"] == "length"
    assert HOLDING.startswith(body["choices"][0]["text"])
    assert body["usage"]["completion_tokens"] == 3


def test_chat_stream(api: Api):
    response = api.post(CHAT, messages=MESSAGES, stream=True, stream_options={"include_usage": True})
    assert response.headers["content-type"].startswith("text/event-stream")
    assert "\\u" not in response.text and "\ufffd" not in response.text
    first, *middle, last, usage = events(response)
    assert first["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    assert "".join(event["choices"][0]["delta"]["content"] for event in middle) == HOLDING
    assert last["choices"][0] == {"index": 0, "delta": {}, "logprobs": None, "finish_reason": "stop"}
    assert usage["choices"] == [] and usage["usage"]["completion_tokens"] == len(api.tokenizer.encode(HOLDING)) + 1
    assert {event["object"] for event in (first, *middle, last, usage)} == {"chat.completion.chunk"}
    assert len({event["id"] for event in (first, *middle, last, usage)}) == 1
    assert all(event["usage"] is None for event in (first, *middle, last))


def test_text_stream_without_usage(api: Api):
    parts = events(api.post(TEXT, prompt="人民", stream=True))
    assert "".join(part["choices"][0]["text"] for part in parts) == HOLDING
    assert parts[-1]["choices"][0]["finish_reason"] == "stop"
    assert not any("usage" in part for part in parts)


def test_a_stop_text_ends_the_reply_and_is_not_shown(api: Api):
    body = api.post(CHAT, messages=MESSAGES, stop=["憲法", "國家"]).json()
    assert body["choices"][0]["message"]["content"] == "人民有集會之自由，"
    assert body["choices"][0]["finish_reason"] == "stop"


def test_models_and_health(api: Api):
    card = api.request("GET", "/v1/models").json()["data"][0]
    assert (card["id"], card["object"], card["owned_by"]) == ("tiny", "model", "hanlin")
    assert card["context_length"] == 256 and card["chat"] is True
    assert isinstance(card["created"], int)


def test_one_model_by_name(api: Api):
    assert api.request("GET", "/v1/models/tiny").json()["id"] == "tiny"


def test_health(api: Api):
    assert api.request("GET", "/health").json() == {"status": "ok"}


def test_an_unknown_model_is_404_and_says_what_is_served(api: Api):
    response = api.request("POST", CHAT, json={"model": "gpt-5", "messages": MESSAGES})
    message = check_error(response, 404, "model", "model_not_found")
    assert "gpt-5" in message and "tiny" in message


def test_a_prompt_longer_than_the_context_is_refused(api: Api):
    response = api.post(TEXT, prompt="憲法" * 1000)
    assert "256" in check_error(response, 400, "prompt", "context_length_exceeded")
    assert api.script.prompts == []


@pytest.mark.parametrize(
    "fields, param, code",
    [
        ({"temperature": 3}, "temperature", None),
        ({"n": 0}, "n", None),
        ({"n": 100}, "n", None),
        ({"audio": {}}, "audio", "unsupported_parameter"),
        ({"tools": [{"type": "function"}]}, "tools.0.function", None),
        ({"tool_choice": "required"}, "tool_choice", "missing_tools"),
        ({"tool_choice": {"type": "function", "function": {"name": "x"}}}, "tool_choice", "missing_tools"),
        ({"top_logprobs": 3}, "top_logprobs", "missing_logprobs"),
        ({"logit_bias": {"999999": 1}}, "logit_bias", None),
        ({"response_format": {"type": "json_schema"}}, "response_format.json_schema", "missing_schema"),
        ({"response_format": {"type": "json_object"}, "regex": "a"}, "regex", "two_forms"),
        ({"chat_template_kwargs": {"messages": []}}, "chat_template_kwargs", "reserved"),
        ({"messages": [{"role": "user", "content": "a", "tool_calls": []}, {"role": "tool"}]}, "messages.1", None),
        ({"temprature": 1}, "temprature", "unknown_parameter"),
        ({"messages": [{"role": "user", "content": 3}]}, "messages.0.content", None),
    ],
)
def test_a_wrong_field_is_400_and_named(api: Api, fields: dict, param: str, code: str | None):
    check_error(api.post(CHAT, **{"messages": MESSAGES, **fields}), 400, param, code)


@pytest.mark.parametrize("body", [b"", b"{", b"[1]", b'"text"', b"\xff\xfe", b"[" * 100_000])
def test_a_body_that_is_no_request_is_400(api: Api, body: bytes):
    response = api.request("POST", CHAT, content=body, headers={"content-type": "application/json"})
    assert response.status_code == 400
    assert response.json()["error"]["type"] == "invalid_request_error"


def test_too_many_messages_are_refused(tiny_tokenizer: Tokenizer, tmp_path: Path):
    response = Api(tiny_tokenizer, tmp_path, max_messages=2).post(CHAT, messages=MESSAGES * 3)
    check_error(response, 400, "messages", None)


@pytest.mark.parametrize("declared", [True, False])
def test_a_body_over_the_limit_is_413(tiny_tokenizer: Tokenizer, tmp_path: Path, declared: bool):
    async def in_pieces() -> AsyncIterator[bytes]:
        for _ in range(4):
            yield b"x" * 1000

    body = {"content": b"x" * 4000} if declared else {"content": in_pieces()}
    response = Api(tiny_tokenizer, tmp_path, max_body_bytes=2048).request("POST", CHAT, **body)
    check_error(response, 413, None, "request_too_large")


def test_unknown_paths_and_methods_have_the_same_shape(api: Api):
    check_error(api.request("GET", CHAT), 405, None, None)


def test_unknown_paths(api: Api):
    check_error(api.request("GET", "/v1/nothing"), 404, None, None)


def test_a_model_that_is_broken_from_the_start_answers_500(tiny_tokenizer: Tokenizer, tmp_path: Path):
    for stream in (False, True):
        broken = Api(tiny_tokenizer, tmp_path, Script(broken_after=0))
        message = check_error(broken.post(CHAT, messages=MESSAGES, stream=stream), 500, None, "generation_failed")
        assert "not finite" in message


def test_a_failure_after_the_first_token_is_an_event_of_the_stream(tiny_tokenizer: Tokenizer, tmp_path: Path):
    response = Api(tiny_tokenizer, tmp_path, Script(broken_after=5)).post(CHAT, messages=MESSAGES, stream=True)
    assert response.status_code == 200
    *_, last = response.text.strip().split("\n\n")
    assert json.loads(last.removeprefix("data: "))["error"]["code"] == "generation_failed"


def test_ignored_fields_come_back_in_a_header(api: Api):
    assert api.post(CHAT, messages=MESSAGES, user="u", store=False).headers["x-hanlin-ignored"] == "store, user"


@pytest.mark.parametrize("host", ["attacker.example", "127.0.0.1.attacker.example", "", "[::1", "192.168.1.5:8000"])
def test_a_foreign_host_name_is_refused(api: Api, host: str):
    check_error(api.request("GET", "/v1/models", headers={"host": host}), 403, None, "host_not_allowed")


@pytest.mark.parametrize("host", ["localhost:8000", "127.0.0.1", "[::1]:8000", "LOCALHOST"])
def test_this_machines_names_are_answered(api: Api, host: str):
    assert api.request("GET", "/", headers={"host": host}).status_code == 200


@pytest.mark.parametrize("origin", ["https://attacker.example", "null", "http://localhost:9999"])
def test_pages_of_other_origins_are_refused(api: Api, origin: str):
    check_error(api.post(CHAT, {"origin": origin}, messages=MESSAGES), 403, None, "origin_not_allowed")


def test_our_own_page_is_answered(api: Api):
    assert api.post(CHAT, {"origin": "http://localhost"}, messages=MESSAGES).status_code == 200


@pytest.mark.parametrize("header", [None, "Bearer wrong", "Basic secret", "Bearer", "Bearer sécret"])
def test_with_a_token_v1_needs_it(tiny_tokenizer: Tokenizer, tmp_path: Path, header: str | None):
    guarded = Api(tiny_tokenizer, tmp_path, token="secret")
    headers = {} if header is None else {"authorization": header.encode()}
    check_error(guarded.request("GET", "/v1/models", headers=headers), 401, None, "invalid_api_key")


def test_with_the_token_any_host_name_is_answered(tiny_tokenizer: Tokenizer, tmp_path: Path):
    guarded = Api(tiny_tokenizer, tmp_path, token="secret")
    headers = {"authorization": "Bearer secret", "host": "model.example:8000"}
    assert guarded.request("GET", "/v1/models", headers=headers).status_code == 200


def test_the_page_is_whole_and_allows_nothing_from_elsewhere(api: Api):
    assert {path.name for path in PAGE_FOLDER.iterdir()} == set(PAGE_FILES)
    response = api.request("GET", "/")
    assert "default-src 'none'" in response.headers["content-security-policy"]
    assert "unsafe" not in response.headers["content-security-policy"]
    for name in PAGE_FILES:
        source = (PAGE_FOLDER / name).read_text(encoding="utf-8")
        assert "innerHTML" not in source and "https://" not in source


def test_every_page_file_is_served(tiny_tokenizer: Tokenizer, tmp_path: Path):
    for name in PAGE_FILES:
        path = "/" if name == "index.html" else f"/{name}"
        assert Api(tiny_tokenizer, tmp_path).request("GET", path).status_code == 200
