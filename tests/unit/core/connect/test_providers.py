"""The official clients of OpenAI, Anthropic and Google, run for real against their APIs as recorded."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from recorded_server import Playing, cases, playing

from hanlin.core.connect import Answer, Remote, Usage, connect
from hanlin.core.connect.failure import RemoteError
from hanlin.core.run.errors import HanlinError, RequestError

MODELS = {"openai": "openai:gpt-4.1", "anthropic": "anthropic:claude-sonnet-4-6", "gemini": "gemini:gemini-3-flash"}
QUESTION = [{"role": "system", "content": "簡短回答。"}, {"role": "user", "content": "臺北今天天氣如何？"}]
SCHEMA = {
    "type": "object",
    "properties": {"answer": {"type": "string"}},
    "required": ["answer"],
    "additionalProperties": False,
}
WEATHER = {
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
RESULT = '{"weather": "晴", "celsius": 26}'

every = pytest.mark.parametrize("provider", MODELS)


def model_at(played: Playing, address: str = "", **options: Any) -> Remote:
    given = {"key": "sk-wrong", "first_wait_seconds": 0.001, **options}
    return connect(address or MODELS[played.provider], url=played.url, **given)


def ask(provider: str, case: str, **settings: Any) -> Answer:
    with playing(provider, case) as played:
        return model_at(played).reply(QUESTION, **settings)


def result_of(call: Any, content: str) -> dict[str, Any]:
    return {"role": "tool", "tool_call_id": call.id, "content": content}


def test_openai_settings_and_usage() -> None:
    answer = ask("openai", "text", temperature=0, top_p=0.9, seed=7, stop=("\n",), max_tokens=50)
    assert answer == Answer("晴，26 度。", usage=Usage(24, 6, cached_tokens=16), model="gpt-4.1-2025-04-14")


def test_anthropic_settings_and_usage() -> None:
    answer = ask("anthropic", "text", stop=("\n\n",), max_tokens=50)
    assert answer == Answer("晴，26 度。", usage=Usage(25, 8, cached_tokens=20), model="claude-sonnet-4-6")


def test_gemini_settings_and_usage() -> None:
    answer = ask("gemini", "text", temperature=0, top_p=0.9, top_k=40, seed=7, stop=("\n\n",), max_tokens=50)
    assert answer == Answer("晴，26 度。", usage=Usage(11, 6, cached_tokens=4), model="gemini-3-flash")


@every
def test_a_reply_of_a_given_form_after_a_thought(provider: str) -> None:
    answer = ask(provider, "schema", json_schema=SCHEMA, effort="low")
    assert answer.value == {"answer": "晴"}
    assert answer.thought == ("" if provider == "openai" else "看天氣")  # OpenAI does not show it
    assert answer.usage is not None and answer.usage.output_tokens > answer.usage.thought_tokens > 0


def test_openai_calls_tools_and_reads_their_results() -> None:
    with playing("openai", "tools") as played:
        model = model_at(played)
        asked = model.reply(QUESTION, tools=[WEATHER])
        assert [call.values for call in asked.calls] == [{"city": "臺北"}, {"city": "高雄"}]
        assert asked.finish == "tool_calls" and asked.text == ""
        first, second = asked.calls
        results = [result_of(first, RESULT), result_of(second, "雨")]
        answer = model.reply([*QUESTION, asked.message, *results], tools=[WEATHER])
    assert answer.text == "臺北晴，高雄雨。"


def test_anthropic_calls_tools_and_gets_its_signed_thoughts_back() -> None:
    with playing("anthropic", "tools") as played:
        model = model_at(played)
        stream = model.stream(QUESTION, tools=[WEATHER], effort="high")
        kinds = [piece.kind for piece in stream]
        assert kinds == ["thought", "thought", "text", "text", "call", "arguments", "arguments"]
        asked = stream.answer
        assert (asked.thought, asked.text, asked.finish) == ("先查臺北。", "我查一下。", "tool_calls")
        (call,) = asked.calls
        assert (call.name, call.values) == ("get_weather", {"city": "臺北"})
        conversation = [*QUESTION, asked.message, result_of(call, RESULT)]
        assert model.reply(conversation, tools=[WEATHER], effort="high").text == "臺北晴，26 度。"


def test_gemini_calls_tools_and_gets_its_signed_parts_back() -> None:
    with playing("gemini", "tools") as played:
        model = model_at(played)
        asked = model.reply(QUESTION, tools=[WEATHER])
        assert [call.values["city"] for call in asked.calls] == ["臺北", "高雄"]
        assert asked.finish == "tool_calls" and asked.usage == Usage(50, 50, thought_tokens=30)
        first, second = asked.calls
        conversation = [*QUESTION, asked.message, result_of(first, RESULT), result_of(second, "雨")]
        assert model.reply(conversation, tools=[WEATHER]).text == "臺北晴，高雄雨。"


def test_gemini_never_sees_an_id_it_did_not_give() -> None:
    with playing("gemini", "unnumbered") as played:
        model = model_at(played)
        asked = model.reply(QUESTION, tools=[WEATHER], tool_choice="get_weather")
        assert model.reply([*QUESTION, asked.message, result_of(asked.calls[0], "晴")]).text == "晴。"


def test_a_conversation_moves_from_one_provider_to_another() -> None:
    """OpenAI's calls, and the results of both, become one turn of the assistant and one of the user."""
    calls = [
        {"id": f"call_{n}", "function": {"name": "get_weather", "arguments": {"city": city}}}
        for n, city in ((1, "臺北"), (2, "高雄"))
    ]
    with playing("anthropic", "foreign") as played:
        conversation = [
            *QUESTION,
            {"role": "assistant", "content": None, "tool_calls": calls, "reasoning_content": "想"},
            {"role": "tool", "tool_call_id": "call_1", "content": "晴"},
            {"role": "tool", "tool_call_id": "call_2", "content": [{"type": "text", "text": "雨"}]},
            {"role": "user", "content": "謝謝"},
        ]
        assert model_at(played).reply(conversation, tools=[WEATHER], tool_choice="get_weather").text == "不客氣。"


def test_thoughts_of_open_models_are_parted() -> None:
    with playing("openai", "thoughts") as played:
        model = model_at(played, f"{played.url}#deepseek-r1")
        answer = model.reply([{"role": "developer", "content": "簡短回答。"}, QUESTION[1]], max_tokens=99)
    assert (answer.thought, answer.text) == ("想一下", "晴")


@pytest.mark.parametrize(
    ("provider", "case", "finish", "text"),
    [
        ("openai", "refusal", "refusal", "抱歉，我不能協助。"),
        ("openai", "filtered", "content_filter", "前"),
        ("anthropic", "refusal", "refusal", "我"),
        ("gemini", "filtered", "content_filter", "前"),
        ("gemini", "blocked", "content_filter", ""),
        ("gemini", "length", "length", "晴，"),
    ],
)
def test_why_a_reply_ended(provider: str, case: str, finish: str, text: str) -> None:
    answer = ask(provider, case)
    assert (answer.finish, answer.text) == (finish, text)


@pytest.mark.parametrize(("provider", "case"), [("openai", "named_tool"), ("anthropic", "length")])
def test_a_call_that_was_cut_says_so(provider: str, case: str) -> None:
    with playing(provider, case) as played:
        answer = model_at(played).reply(QUESTION, tools=[WEATHER], tool_choice="get_weather")
    assert answer.calls[0].name == "get_weather"
    with pytest.raises(HanlinError, match="no JSON"):
        _ = answer.calls[0].values


@every
def test_a_wrong_key_names_its_variable_and_is_not_repeated(provider: str) -> None:
    with pytest.raises(RemoteError) as caught:
        ask(provider, "key")
    error = caught.value
    assert error.status == 401 and error.ends_all
    assert f"export {provider.upper()}_API_KEY=…" in error.do
    assert "sk-wrong" not in str(error), "providers repeat it; we don't"


@every
def test_it_waits_as_it_is_told_and_asks_again(provider: str) -> None:
    assert ask(provider, "rate").text in ("晴。",)


@every
def test_what_breaks_off_is_asked_for_anew_while_nothing_was_shown(provider: str) -> None:
    assert ask(provider, "cut").text == "晴。"


@every
def test_what_breaks_off_once_shown_is_an_error(provider: str) -> None:
    with playing(provider, "cut_only") as played:
        shown: list[str] = []
        with pytest.raises(RemoteError, match="no whole answer") as caught:
            shown += model_at(played).chat(QUESTION)
    assert caught.value.status is None


@pytest.mark.parametrize(
    ("provider", "case"),
    [
        ("openai", "ends_early"),
        ("openai", "error_within"),
        ("anthropic", "overloaded_within"),
        ("gemini", "error_within"),
        ("gemini", "bad_call"),
        *((provider, "malformed") for provider in MODELS),
    ],
)
def test_a_stream_that_goes_wrong_is_asked_for_anew(provider: str, case: str) -> None:
    assert ask(provider, case).text == "晴。"


@pytest.mark.parametrize(
    ("provider", "case", "status", "words"),
    [
        ("openai", "no_model", 404, "not found"),
        ("openai", "wrong", 400, "additionalProperties"),
        ("openai", "quota", 429, "top it up"),
        ("anthropic", "wrong", 400, "Invalid schema"),
    ],
)
def test_what_asking_again_can_not_help_is_asked_once(provider: str, case: str, status: int, words: str) -> None:
    with pytest.raises(RemoteError, match=words) as caught:
        ask(provider, case)
    assert caught.value.status == status


def test_what_is_no_such_server_is_said() -> None:
    with playing("openai", "no_server") as played, pytest.raises(RemoteError, match="OpenAI-compatible"):
        model_at(played, tries=1).reply(QUESTION)


def test_nobody_at_home() -> None:
    model = connect("http://127.0.0.1:9/v1#nobody", tries=2, first_wait_seconds=0.001)
    with pytest.raises(RemoteError, match="asked 2 times"):
        model.reply(QUESTION)


@pytest.mark.parametrize(
    ("provider", "name"), [("openai", "text-embedding-3-small"), ("gemini", "gemini-embedding-001")]
)
def test_vectors_come_in_the_order_of_the_texts(provider: str, name: str) -> None:
    with playing(provider, "embed") as played:
        assert model_at(played, f"{provider}:{name}").embed(["山", "水"]) == [[1, 0], [0, 1]]


def test_anthropic_has_no_vectors() -> None:
    with pytest.raises(RequestError, match="no embeddings"):
        connect("anthropic:claude-sonnet-4-6", key="k").embed(["山"])


@pytest.mark.parametrize(
    ("provider", "settings", "left_out"),
    [
        ("openai", {"top_k": 3, "min_p": 0.1}, "no min_p, no top_k"),
        ("anthropic", {"temperature": 0, "seed": 1}, "no seed, no temperature"),
        ("gemini", {"dry_multiplier": 0.8}, "no dry_multiplier"),
    ],
)
def test_a_setting_that_is_left_out_warns(provider: str, settings: dict[str, Any], left_out: str) -> None:
    with pytest.warns(UserWarning, match=f"{provider} takes {left_out}"):
        connect(MODELS[provider], key="k").stream(QUESTION, **settings)


@every
def test_a_promise_nobody_could_keep_is_refused(provider: str) -> None:
    with pytest.raises(RequestError, match="can't be asked for regex"):
        connect(MODELS[provider], key="k").stream(QUESTION, regex="[0-9]+")


@pytest.mark.parametrize("provider", ["anthropic", "gemini"])
def test_a_late_system_message_has_no_place(provider: str) -> None:
    late = [*QUESTION, {"role": "assistant", "content": "晴"}, {"role": "system", "content": "英文"}]
    with pytest.raises(RequestError, match="Message 3 is a system message"):
        connect(MODELS[provider], key="k").reply(late)


def test_another_server_gets_none_of_openai(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither the key nor the organization that OpenAI's client reads from the environment."""
    monkeypatch.setenv("OPENAI_API_KEY", "sk-of-openai")
    monkeypatch.setenv("OPENAI_ORG_ID", "org-of-mine")
    monkeypatch.delenv("HANLIN_API_KEY", raising=False)
    with playing("openai", "thoughts") as played:
        connect(f"{played.url}#deepseek-r1").reply(QUESTION, max_tokens=99)
    assert played.headers[0]["authorization"] == "Bearer none"
    assert not [value for value in played.headers[0].values() if "sk-of-openai" in value or "org-of-mine" in value]


def test_every_case_is_played_here() -> None:
    text = Path(__file__).read_text(encoding="utf-8")
    assert not [case for provider in MODELS for case in cases(provider) if f'"{case}"' not in text]
