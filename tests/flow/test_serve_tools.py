"""Tools and thoughts, by the official client: a model with Qwen's template says scripted calls."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import openai
import pytest
from chat_templates import tokenizer_of
from serving import Script, client_of, running, scripted

from hanlin.use.serve.schema.replies import ChatCompletion, TextCompletion

QUESTION = [{"role": "user", "content": "台北和高雄的天氣？"}]
TOOL = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "某地的天氣",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}
ASKED = {"model": "tiny", "messages": QUESTION, "tools": [TOOL]}


def said_call(city: str) -> str:
    return f'<tool_call>\n{{"name": "get_weather", "arguments": {{"city": "{city}"}}}}\n</tool_call>'


@pytest.fixture(scope="module")
def script() -> Script:
    return Script()


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory, script: Script) -> Iterator[openai.OpenAI]:
    loaded = scripted(tokenizer_of("qwen3"), script, tmp_path_factory.mktemp("tools"), context=4096)
    # The scripted model knows a prompt by its two passes; one with tools is longer than a chunk.
    with running(loaded, engine={"chunk_tokens": 4096}) as started, client_of(started) as made:
        yield made


def heard(script: Script) -> str:
    return tokenizer_of("qwen3").decode(script.prompts[-1], skip_special=False)


def test_a_call_is_read_and_its_result_goes_back(client: openai.OpenAI, script: Script):
    script.text = "我查一下。\n" + said_call("台北")
    first = client.chat.completions.create(**ASKED)
    message = first.choices[0].message
    assert first.choices[0].finish_reason == "tool_calls"
    assert message.content.strip() == "我查一下。"
    (call,) = message.tool_calls
    assert (call.type, call.function.name) == ("function", "get_weather")
    assert json.loads(call.function.arguments) == {"city": "台北"}
    assert "某地的天氣" in heard(script)
    script.text = "台北有雨。"
    result = {"role": "tool", "tool_call_id": call.id, "content": "雨"}
    second = client.chat.completions.create(**{**ASKED, "messages": [*QUESTION, message, result]})
    assert second.choices[0].message.content == "台北有雨。"
    assert second.choices[0].finish_reason == "stop" and second.choices[0].message.tool_calls is None
    assert "<tool_response>\n雨" in heard(script) and "get_weather" in heard(script)


def test_parallel_calls_and_at_most_one(client: openai.OpenAI, script: Script):
    script.text = said_call("台北") + "\n" + said_call("高雄")
    both = client.chat.completions.create(**ASKED).choices[0]
    assert [json.loads(call.function.arguments)["city"] for call in both.message.tool_calls] == ["台北", "高雄"]
    assert len({call.id for call in both.message.tool_calls}) == 2 and both.message.content is None
    one = client.chat.completions.create(**ASKED, parallel_tool_calls=False)
    assert [json.loads(call.function.arguments)["city"] for call in one.choices[0].message.tool_calls] == ["台北"]
    assert one.choices[0].finish_reason == "tool_calls"


def test_calls_are_streamed_in_pieces(client: openai.OpenAI, script: Script):
    script.text = "好。\n" + said_call("台北") + "\n" + said_call("高雄")
    calls: dict[int, dict] = {}
    text, finish, num_pieces = "", None, 0
    for chunk in client.chat.completions.create(**ASKED, stream=True):
        choice = chunk.choices[0]
        text += choice.delta.content or ""
        finish = choice.finish_reason or finish
        for part in choice.delta.tool_calls or ():
            num_pieces += 1
            if part.index not in calls:
                assert part.id and part.type == "function" and part.function.name == "get_weather"
                calls[part.index] = {"id": part.id, "arguments": ""}
            else:
                assert part.id is None and part.function.name is None
            calls[part.index]["arguments"] += part.function.arguments
    assert text.strip() == "好。" and finish == "tool_calls" and num_pieces > 4
    assert [json.loads(calls[place]["arguments"])["city"] for place in (0, 1)] == ["台北", "高雄"]


def test_the_clients_own_stream_helper_reads_it(client: openai.OpenAI, script: Script):
    script.text = said_call("台北")
    with client.chat.completions.stream(**ASKED) as stream:
        final = stream.get_final_completion()
    assert json.loads(final.choices[0].message.tool_calls[0].function.arguments) == {"city": "台北"}


def test_no_tools_no_calls(client: openai.OpenAI, script: Script):
    script.text = said_call("台北")
    reply = client.chat.completions.create(**ASKED, tool_choice="none").choices[0]
    assert reply.message.content == script.text and reply.finish_reason == "stop"
    assert "某地的天氣" not in heard(script)


@pytest.mark.parametrize("choice", ["required", {"type": "function", "function": {"name": "get_weather"}}])
def test_a_call_can_be_demanded(client: openai.OpenAI, script: Script, choice: object):
    script.text = "我不想查。"
    reply = client.chat.completions.create(**ASKED, tool_choice=choice, max_tokens=200, seed=1, temperature=1.0)
    (call, *_) = reply.choices[0].message.tool_calls
    assert call.function.name == "get_weather"


def test_a_template_without_tools_is_a_clear_refusal(tmp_path: Path):
    loaded = scripted(tokenizer_of("chatml"), Script(), tmp_path)
    with running(loaded) as started, client_of(started) as client, pytest.raises(openai.BadRequestError) as caught:
        client.chat.completions.create(**ASKED)
    assert caught.value.param == "tools"


def test_thoughts_come_apart_whole_and_streamed(client: openai.OpenAI, script: Script):
    script.text = "<think>\n先想一想。\n</think>\n\n下雨。"
    asked = {"model": "tiny", "messages": QUESTION}
    reply = client.chat.completions.create(**asked)
    assert reply.choices[0].message.reasoning_content == "先想一想。"
    assert reply.choices[0].message.content == "下雨。"
    assert 0 < reply.usage.completion_tokens_details.reasoning_tokens < reply.usage.completion_tokens
    thought = text = ""
    for chunk in client.chat.completions.create(**asked, stream=True):
        thought += getattr(chunk.choices[0].delta, "reasoning_content", None) or ""
        text += chunk.choices[0].delta.content or ""
    assert (thought, text) == ("先想一想。", "下雨。")


def test_the_template_is_told_not_to_think(client: openai.OpenAI, script: Script):
    script.text = "下雨。"
    client.chat.completions.create(model="tiny", messages=QUESTION)
    assert "<think>" not in heard(script)
    extra = {"chat_template_kwargs": {"enable_thinking": False}}
    reply = client.chat.completions.create(model="tiny", messages=QUESTION, extra_body=extra)
    assert heard(script).endswith("<think>\n\n</think>\n\n") and reply.choices[0].message.content == "下雨。"


def test_replies_are_as_the_description_says(client: openai.OpenAI, script: Script):
    script.text = "<think>想</think>好。" + said_call("台北")
    asked = {**ASKED, "logprobs": True, "top_logprobs": 2, "n": 2}
    for tools in (asked, {**asked, "tool_choice": "none"}):
        raw = client.chat.completions.with_raw_response.create(**tools)
        ChatCompletion.model_validate_json(raw.http_response.content)
    raw = client.completions.with_raw_response.create(model="tiny", prompt="甲", logprobs=2)
    TextCompletion.model_validate_json(raw.http_response.content)
