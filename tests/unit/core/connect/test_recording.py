"""Asked once, answered from the file ever after: without network, client, or key."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from recorded_server import playing

from hanlin.core.connect import Budget, Remote, connect
from hanlin.core.connect.budget import BudgetError
from hanlin.core.run.errors import HanlinError

QUESTION = [{"role": "user", "content": "臺北今天天氣如何？"}]
KEY = "sk-very-secret"


def replaying(path: Path, **options: Any) -> Remote:
    return connect("openai:gpt-4.1", replay=path, **options)


@pytest.fixture
def recorded(tmp_path: Path) -> Path:
    """A recording of one tool-calling reply."""
    path = tmp_path / "new" / "answers.jsonl"
    with playing("openai", "named_tool") as played:
        model = connect("openai:gpt-4.1", key=KEY, url=played.url, record=path)
        model.reply([{"role": "system", "content": "簡短回答。"}, *QUESTION], tools=TOOLS, tool_choice="get_weather")
    return path


TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "get_weather",
            "description": "查天氣",
            "parameters": {
                "type": "object",
                "properties": {"city": {"type": "string", "description": "城市"}},
                "required": ["city"],
            },
        },
    }
]


def test_the_same_answer_comes_back_without_key_or_network(recorded: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    asked = [{"content": "簡短回答。", "role": "system"}, *QUESTION]
    stream = replaying(recorded).stream(asked, tools=TOOLS, tool_choice="get_weather")
    assert [piece.kind for piece in stream] == ["call", "arguments"]
    assert stream.answer.finish == "tool_calls" and stream.answer.calls[0].id == "call_1"


def test_no_key_and_no_address_is_written(recorded: Path) -> None:
    text = recorded.read_text(encoding="utf-8")
    assert KEY not in text and "127.0.0.1" not in text and "臺北" in text
    (line,) = text.splitlines()
    assert set(json.loads(line)) == {"hash", "sample", "request", "answer"}


def test_what_is_not_recorded_is_said(recorded: Path) -> None:
    with pytest.raises(HanlinError, match="'臺北今天天氣如何？' is not recorded"):
        replaying(recorded).reply(QUESTION, temperature=0.5)
    with pytest.raises(HanlinError, match="There is no recording"):
        replaying(recorded.with_name("none.jsonl"))


def test_equal_requests_are_recorded_each_for_itself(tmp_path: Path) -> None:
    """And both files at once: what is known is not asked again."""
    path = tmp_path / "answers.jsonl"
    with playing("openai", "cut") as played:  # a broken stream, then "晴。"
        model = connect("openai:gpt-4.1", key=KEY, url=played.url, record=path, replay=path, first_wait_seconds=0.001)
        assert model.reply(QUESTION).text == "晴。"
    path.write_text(path.read_text(encoding="utf-8") + '{"hash": "torn', encoding="utf-8")
    with playing("openai", "refusal") as played:
        model = connect("openai:gpt-4.1", key=KEY, url=played.url, record=path, replay=path)
        found = model.many([QUESTION, QUESTION])
    texts = ["晴。", "抱歉，我不能協助。"]
    assert [answer.text for answer in found.answers if answer] == texts
    again = replaying(path)
    assert ["".join(again.chat(QUESTION)), "".join(again.chat(QUESTION))] == texts
    with pytest.raises(HanlinError, match="recorded 2 times, and this is time 3"):
        again.reply(QUESTION)


def test_a_line_that_is_none_is_named(tmp_path: Path) -> None:
    path = tmp_path / "answers.jsonl"
    path.write_text("{}\n", encoding="utf-8")
    with pytest.raises(HanlinError, match="line 1 is no recorded answer"):
        replaying(path)


def test_vectors_are_recorded_too(tmp_path: Path) -> None:
    path = tmp_path / "vectors.jsonl"
    with playing("openai", "embed") as played:
        vectors = connect("openai:text-embedding-3-small", key=KEY, url=played.url, record=path).embed(["山", "水"])
    assert connect("openai:text-embedding-3-small", replay=path).embed(["山", "水"]) == vectors


def test_failures_stand_beside_the_answers_and_a_wrong_key_ends_all() -> None:
    with playing("openai", "key") as played:
        model = connect("openai:gpt-4.1", key=KEY, url=played.url)
        found = model.many(["一", "二", "三"], at_once=1)
    assert found.answers == [None, None, None] and sorted(found.failures) == [0, 1, 2]


def test_a_budget_refuses_before_anything_is_sent() -> None:
    budget = Budget(tokens=100)
    with playing("openai", "filtered") as played:
        model = connect("openai:gpt-4.1", key=KEY, url=played.url, budget=Budget(tokens=10_000))
        model.reply(QUESTION, max_tokens=50)
        assert str(model.budget) == "1 request, 24 + 6 tokens, of 10,000 tokens"
        with pytest.raises(BudgetError, match="Not sent"):
            connect("openai:gpt-4.1", key=KEY, url=played.url, budget=budget).reply(QUESTION, max_tokens=100)
    assert budget.spent.num_requests == 0


def test_what_broke_off_counts_as_claimed() -> None:
    budget = Budget(tokens=100_000)
    with playing("openai", "cut_only") as played, pytest.raises(HanlinError):
        model = connect("openai:gpt-4.1", key=KEY, url=played.url, budget=budget)
        list(model.chat(QUESTION, max_tokens=50))
    assert budget.spent.output_tokens == 50 and budget.spent.num_unknown == 1


def test_a_secret_is_in_no_repr() -> None:
    model = connect("http://me:pass@127.0.0.1:9/v1?token=abc#m", key=KEY)
    assert repr(model) == "Remote(http://127.0.0.1:9/v1#m)" and KEY not in str(vars(model)["_connection"])
