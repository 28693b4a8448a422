"""What requests mean, and which are refused. No server, no model."""

from __future__ import annotations

import json
from importlib.resources import files

import pytest
from pydantic import ValidationError

from hanlin.core.generate.sampling import Sampling
from hanlin.use.serve.errors import ApiError
from hanlin.use.serve.schema.chat import ChatRequest
from hanlin.use.serve.schema.texts import CompletionRequest, DetokenizeRequest, EmbeddingRequest, TokenizeRequest
from hanlin.use.serve.schema.writing import seeded

MESSAGES = [{"role": "user", "content": "你好"}]


def chat(**fields: object) -> ChatRequest:
    return ChatRequest.model_validate({"model": "tiny", "messages": MESSAGES, **fields})


def refusal(**fields: object) -> dict:
    with pytest.raises(ValidationError) as caught:
        chat(**fields)
    return caught.value.errors()[0]


def test_left_out_fields_have_the_samplers_own_defaults():
    assert chat().sampling(limit_tokens=1000) == Sampling()


def test_given_fields_reach_the_sampler():
    given = {"temperature": 0.3, "top_p": 0.5, "top_k": 7, "min_p": 0.1, "repetition_penalty": 1.0, "seed": 11}
    sampling = chat(**given, stop="。", max_tokens=9).sampling(limit_tokens=1000)
    assert sampling == Sampling(**given, stop=("。",), max_tokens=9)


def test_the_newer_name_of_max_tokens_wins_and_the_servers_limit_holds():
    assert chat(max_tokens=50, max_completion_tokens=20).sampling(1000).max_tokens == 20
    assert chat(max_tokens=50).sampling(1000).max_tokens == 50
    assert chat(max_tokens=5000).sampling(1000).max_tokens == 1000


def test_stop_is_a_text_or_a_list_and_empty_texts_stop_nothing():
    assert chat(stop="甲").sampling(9).stop == ("甲",)
    assert chat(stop=["甲", "", "乙"]).sampling(9).stop == ("甲", "乙")
    assert chat(stop=None).sampling(9).stop == ()
    assert refusal(stop=["甲"] * 17)["loc"] == ("stop",)


@pytest.mark.parametrize("name", sorted(ChatRequest.neutral))
def test_what_we_cannot_honour_is_refused_unless_it_asks_for_nothing(name: str):
    for value in (None, *ChatRequest.neutral[name]):
        chat(**{name: value})
    error = refusal(**{name: {"anything": "else"}})
    assert error["ctx"]["param"] == name
    assert error["ctx"]["code"] == "unsupported_parameter"


def test_true_is_not_one():
    assert refusal(best_of=True)["type"] == "unsupported_parameter"
    assert refusal(n=True)["loc"] == ("n",)


def test_fields_that_sampling_has_are_bounded_as_there():
    """All of Sampling's are there but those with a field of OpenAI's."""
    assert set(Sampling.model_fields) - set(ChatRequest.model_fields) == set()
    with pytest.raises(ValidationError):
        chat(typical_p=0)
    assert chat(typical_p=0.5, mirostat=0, script="zh-TW").sampling(9).typical_p == 0.5


def test_what_contradicts_itself_is_refused():
    with pytest.raises(ApiError) as caught:
        chat(mirostat=2, top_k=5).sampling(9)
    assert (caught.value.status, caught.value.param) == (400, "mirostat")


def test_several_replies_have_seeds_one_after_another():
    drawn = seeded(chat(seed=2**63 - 1).sampling(9), 2)
    assert [sampling.seed for sampling in drawn] == [2**63 - 1, -(2**63)]
    assert [sampling.seed for sampling in seeded(chat().sampling(9), 2)] == [None, None]


def test_logit_bias_has_ids_as_names():
    assert chat(logit_bias={"7": -100, "8": 1.5}).sampling(9).logit_bias == {7: -100, 8: 1.5}
    for bias in ({"a": 1}, {"-1": 1}, {"7": 101}, {"７": 1}, {"7": "1"}):
        assert refusal(logit_bias=bias)["loc"][0] == "logit_bias"


def test_forms_of_a_reply():
    schema = {"type": "object", "properties": {"城市": {"type": "string"}}}
    asked = {"type": "json_schema", "json_schema": {"name": "a", "schema": schema, "strict": True}}
    assert json.loads(chat(response_format=asked).sampling(9).json_schema) == schema
    assert json.loads(chat(response_format={"type": "json_object"}).sampling(9).json_schema) == {"type": "object"}
    assert chat(response_format={"type": "text"}).sampling(9).json_schema == ""
    assert chat(choices=["甲", "乙"]).sampling(9).choices == ("甲", "乙")
    assert refusal(regex="a", choices=["甲"])["type"] == "two_forms"


TOOL = {"type": "function", "function": {"name": "天氣", "parameters": {"type": "object"}}}


def test_tools_and_their_choice():
    assert chat(tools=[TOOL]).calls_allowed and not chat(tools=[TOOL], tool_choice="none").calls_allowed
    assert chat(tools=[TOOL], tool_choice="required").must_call
    only = {"type": "function", "function": {"name": "天氣"}}
    assert chat(tools=[TOOL], tool_choice=only).only_tool == "天氣"
    assert refusal(tools=[TOOL], tool_choice={**only, "function": {"name": "x"}})["type"] == "unknown_tool"
    assert refusal(tools=[TOOL, TOOL])["type"] == "two_tools"
    assert refusal(tools=[TOOL], regex="a")["type"] == "two_forms"


def test_a_misspelt_field_is_refused_with_a_suggestion():
    assert 'did you mean "temperature"?' in refusal(temprature=0.5)["msg"]


def test_ignored_fields_are_reported():
    assert chat(**dict.fromkeys(ChatRequest.without_effect, "x")).ignored == tuple(sorted(ChatRequest.without_effect))
    assert chat().ignored == ()


def test_the_readme_names_every_field():
    readme = files("hanlin.use.serve").joinpath("README.md").read_text(encoding="utf-8")
    kinds = (ChatRequest, CompletionRequest, EmbeddingRequest, TokenizeRequest, DetokenizeRequest)
    names = {name for kind in kinds for name in (*kind.model_fields, *kind.without_effect, *kind.neutral)}
    assert [name for name in sorted(names) if f"`{name}" not in readme] == []


@pytest.mark.parametrize(
    "fields",
    [
        {"temperature": -0.1},
        {"temperature": 2.1},
        {"temperature": "0.5"},
        {"temperature": float("nan")},
        {"top_p": 0},
        {"top_p": 1.5},
        {"max_tokens": 0},
        {"max_tokens": 1.5},
        {"max_tokens": True},
        {"seed": 2**63},
        {"stream": "yes"},
        {"stop": 3},
        {"messages": []},
        {"messages": [{"role": "function", "content": "x"}]},
        {"messages": [{"role": "user", "content": None}]},
        {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}]},
        {"model": 3},
    ],
)
def test_values_outside_their_range_are_refused(fields: dict):
    assert refusal(**fields)["loc"][0] == next(iter(fields))


@pytest.mark.parametrize(
    "fields", [{"messages": [{"role": "user", "content": "\ud800"}]}, {"stop": "\udfff"}, {"\ud800": 1}]
)
def test_half_a_surrogate_pair_is_no_text(fields: dict):
    assert refusal(**fields)["type"] == "invalid_unicode"


def test_a_message_in_parts_is_joined():
    parts = [{"type": "text", "text": "你"}, {"type": "text", "text": "好"}]
    asked = chat(messages=[{"role": "developer", "content": "簡答"}, {"role": "user", "content": parts}])
    assert [message.plain() for message in asked.messages] == [
        {"role": "developer", "content": "簡答"},
        {"role": "user", "content": "你好"},
    ]


def test_a_completion_has_prompts_in_four_spellings():
    def prompts(prompt: object) -> list:
        return CompletionRequest.model_validate({"model": "m", "prompt": prompt}).prompts

    assert prompts("甲") == ["甲"]
    assert prompts(["甲", "乙"]) == ["甲", "乙"]
    assert prompts([1, 2]) == [[1, 2]]
    assert prompts([[1, 2], [3]]) == [[1, 2], [3]]
    for wrong in ([], None, [1, "甲"], [[]], [-1], [True], {"a": 1}):
        with pytest.raises(ValidationError, match="a text, a list of"):
            prompts(wrong)
