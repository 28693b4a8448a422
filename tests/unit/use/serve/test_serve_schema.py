"""What requests mean, and which are refused. No server, no model."""

from __future__ import annotations

from importlib.resources import files

import pytest
from pydantic import ValidationError

from hanlin.core.generate.sampling import Sampling
from hanlin.use.serve.schema import IGNORED, NEUTRAL, ChatRequest, CompletionRequest

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


@pytest.mark.parametrize("name", sorted(NEUTRAL))
def test_what_we_cannot_honour_is_refused_unless_it_asks_for_nothing(name: str):
    for value in (None, *NEUTRAL[name]):
        chat(**{name: value})
    error = refusal(**{name: {"anything": "else"}})
    assert error["ctx"]["param"] == name
    assert error["ctx"]["code"] == "unsupported_parameter"


@pytest.mark.parametrize("fields", [{"n": 2}, {"n": True}, {"logprobs": True}, {"frequency_penalty": 0.5}])
def test_values_near_the_neutral_one_are_refused_too(fields: dict):
    assert refusal(**fields)["type"] == "unsupported_parameter"


def test_a_misspelt_field_is_refused_with_a_suggestion():
    assert 'did you mean "temperature"?' in refusal(temprature=0.5)["msg"]


def test_ignored_fields_are_reported():
    assert chat(**dict.fromkeys(IGNORED, "x")).ignored == tuple(sorted(IGNORED))
    assert chat().ignored == ()


def test_the_readme_names_every_field():
    readme = files("hanlin.use.serve").joinpath("README.md").read_text(encoding="utf-8")
    served = {*ChatRequest.model_fields, *CompletionRequest.model_fields}
    assert [name for name in sorted(IGNORED | served) if f"`{name}" not in readme] == []


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
        {"messages": [{"role": "tool", "content": "x"}]},
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


def test_a_message_in_parts_is_joined_and_developer_is_system():
    parts = [{"type": "text", "text": "你"}, {"type": "text", "text": "好"}]
    asked = chat(messages=[{"role": "developer", "content": "簡答"}, {"role": "user", "content": parts}])
    assert [message.plain() for message in asked.messages] == [
        {"role": "system", "content": "簡答"},
        {"role": "user", "content": "你好"},
    ]


def test_a_completion_has_one_prompt():
    assert CompletionRequest.model_validate({"model": "m", "prompt": "甲"}).prompt == "甲"
    assert CompletionRequest.model_validate({"model": "m", "prompt": ["甲"]}).prompt == "甲"
    for prompt in (["甲", "乙"], [1, 2], [], None):
        with pytest.raises(ValidationError):
            CompletionRequest.model_validate({"model": "m", "prompt": prompt})
