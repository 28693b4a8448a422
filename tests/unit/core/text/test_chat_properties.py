"""What holds for every template and every conversation: spans, stops, spelled tokens, purity."""

from __future__ import annotations

from typing import Any

import pytest
from chat_templates import CASES, PLAIN, TOOLS, WITH_THOUGHTS, WITH_TOOLS, Case, expected_reply, tokenizer_of
from hypothesis import given, settings
from hypothesis import strategies as st
from samples import assistant, system, user

from hanlin.core.text.chat import Rendered, render, stop_token
from hanlin.core.text.tokenizer import Tokenizer

Conversation = list[dict[str, Any]]

cases = pytest.mark.parametrize("case", CASES.values(), ids=list(CASES))

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
SPELLED = st.sampled_from(sorted({token for case in CASES.values() for token in (*case.special, case.stop)}))
HALF = st.builds(lambda token, place: token[:place], SPELLED, st.integers(1, 12)) | st.builds(
    lambda token, place: token[place:], SPELLED, st.integers(1, 12)
)
CONTENT = st.lists(st.one_of(TEXT, SPELLED, HALF, st.sampled_from([" ", "\n", "\ue000", "{{ x }}"])), max_size=4).map(
    "".join
)


@st.composite
def conversations(draw: st.DrawFn) -> Conversation:
    messages = [system(draw(CONTENT))] if draw(st.booleans()) else []
    for _ in range(draw(st.integers(1, 3))):
        messages += [user(draw(CONTENT)), assistant(draw(CONTENT))]
    return messages


def spans_of(rendered: Rendered) -> list[list[int]]:
    spans: list[list[int]] = [[]]
    for token, trained in zip(rendered.ids, rendered.trained, strict=True):
        if trained:
            spans[-1].append(token)
        elif spans[-1]:
            spans.append([])
    return [span for span in spans if span]


def check(case: Case, tokenizer: Tokenizer, messages: Conversation, **more: Any) -> None:
    whole = render(messages, tokenizer, **more)
    replies = [place for place, message in enumerate(messages) if message["role"] == "assistant"]
    spans = spans_of(whole)
    assert len(spans) == len(replies) - whole.num_untrained_replies
    assert all(span[-1] == tokenizer.id_of(case.stop) and span.count(span[-1]) == 1 for span in spans)
    for place in replies:
        prompt = render(messages[:place], tokenizer, True, **more)
        assert whole.ids[: len(prompt.ids)] == prompt.ids, "what is served is what was trained"
        assert whole.trained[: len(prompt.ids)] == prompt.trained, "no token of a prompt is trained for a later reply"
        assert whole.trained[len(prompt.ids)] and not prompt.trained[-1]


@cases
@settings(max_examples=20)
@given(messages=conversations())
def test_spans_are_the_replies_with_their_stop(case: Case, messages: Conversation) -> None:
    tokenizer = tokenizer_of(case.name)
    check(case, tokenizer, messages)
    contents = [message["content"] for message in messages if message["role"] == "assistant"]
    if case.name == "qwen3" and any("</think>" in content for content in contents):
        return  # which Qwen's template takes for a thought
    expected = [expected_reply(case, c, place == len(contents)) for place, c in enumerate(contents, start=1)]
    assert [tokenizer.decode(span, skip_special=False) for span in spans_of(render(messages, tokenizer))] == expected


@cases
@settings(max_examples=20)
@given(messages=conversations())
def test_no_content_becomes_a_special_token(case: Case, messages: Conversation) -> None:
    """As many of each special token as in the same conversation with harmless contents."""
    tokenizer = tokenizer_of(case.name)
    harmless = [{**message, "content": "好"} for message in messages]
    ids, expected = render(messages, tokenizer).ids, render(harmless, tokenizer).ids
    special = sorted(tokenizer.special_ids)
    assert [ids.count(token) for token in special] == [expected.count(token) for token in special]


@cases
@settings(max_examples=10)
@given(messages=conversations())
def test_rendering_is_a_pure_function(case: Case, messages: Conversation) -> None:
    tokenizer = tokenizer_of(case.name)
    before = [dict(message) for message in messages]
    first = render(messages, tokenizer)
    render([user("別的")], tokenizer, True)
    assert render(messages, tokenizer) == first
    assert render(tuple(messages), Tokenizer(tokenizer.backend, dict(tokenizer.settings))) == first
    assert messages == before


@cases
def test_the_sample_conversations(case: Case) -> None:
    tokenizer = tokenizer_of(case.name)
    assert stop_token(tokenizer) == case.stop
    for messages in (c for c in PLAIN if c[-1]["role"] == "assistant"):
        check(case, tokenizer, messages)
    if case.name in ("qwen3", "mistral"):
        for messages in WITH_TOOLS:
            check(case, tokenizer, messages, tools=TOOLS)


def test_thoughts_and_tools_are_trained_with_their_reply() -> None:
    tokenizer = tokenizer_of("qwen3")
    check(CASES["qwen3"], tokenizer, WITH_THOUGHTS[0])
    rendered = render(WITH_THOUGHTS[3], tokenizer, tools=TOOLS)
    assert [tokenizer.decode(span, skip_special=False) for span in spans_of(rendered)] == [
        '<think>\n要查。\n</think>\n\n<tool_call>\n{"name": "now", "arguments": {}}\n</tool_call><|im_end|>',
        "<think>\n查到了。\n</think>\n\n九點。<|im_end|>",
    ]
