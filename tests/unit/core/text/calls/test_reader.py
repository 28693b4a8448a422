"""Replies read back: thoughts, text and calls, however the text is cut."""

from __future__ import annotations

import json

import pytest
from chat_templates import tokenizer_of
from hypothesis import given
from hypothesis import strategies as st
from tool_callers import joined

from hanlin.core.text.calls import Event, Reader, ends_in_thought, reader_of
from hanlin.core.text.chat import render

WEATHER = '<tool_call>\n{"name": "weather", "arguments": {"城市": "臺北"}}\n</tool_call>'


def new_reader(name: str = "qwen3", tools: bool = True, thought_open: bool = False) -> Reader:
    return reader_of(tokenizer_of(name), tools=tools, thought_open=thought_open)


def read(*pieces: str, name: str = "qwen3", **options: bool) -> list[tuple[str, str]]:
    reader = new_reader(name, **options)
    events = [event for piece in pieces for event in reader.push(piece)]
    return joined([*events, *reader.finish()])


@st.composite
def cuts(draw: st.DrawFn, text: str) -> list[str]:
    places = sorted(draw(st.sets(st.integers(0, len(text)), max_size=12)))
    return [text[start:end] for start, end in zip([0, *places], [*places, len(text)], strict=True)]


CALLED = [("call", "weather"), ("arguments", '{"城市": "臺北"}')]

REPLIES = {
    "text alone": ("晴天。\n\n  縮排 <b>x</b>\n", [("text", "晴天。\n\n  縮排 <b>x</b>\n")]),
    "one call": (WEATHER, CALLED),
    "text, call, text": (f"查一下。\n{WEATHER}\n\n好了。", [("text", "查一下。"), *CALLED, ("text", "好了。")]),
    "two calls": (f"{WEATHER}\n{WEATHER}", CALLED * 2),
    "arguments before the name": ('<tool_call>{"arguments": {"城市": "臺北"}, "name": "weather"}</tool_call>', CALLED),
    "other members": (
        '<tool_call>{"id": "a}\\"", "type": "function", "name": "weather", "arguments": {"城市": "臺北"}, "index": -1}'
        "</tool_call>",
        CALLED,
    ),
    "arguments as a text": (
        '<tool_call>{"name": "weather", "arguments": "{\\"城市\\": \\"臺北\\"}"}</tool_call>',
        CALLED,
    ),
    "no arguments": ('<tool_call>{"name": "now"}</tool_call>', [("call", "now"), ("arguments", "{}")]),
    "null": ('<tool_call>{"name": "now", "arguments": null}</tool_call>', [("call", "now"), ("arguments", "{}")]),
    "braces in texts": (
        '<tool_call>{"name": "f", "arguments": {"a": "}\\"{</tool_call>", "b": [{}, "]"]}}</tool_call>好',
        [("call", "f"), ("arguments", '{"a": "}\\"{</tool_call>", "b": [{}, "]"]}'), ("text", "好")],
    ),
    "unclosed": (WEATHER.removesuffix("\n</tool_call>"), CALLED),
    "cut short in its arguments": (
        '<tool_call>\n{"name": "weather", "arguments": {"城市": "臺',
        [("call", "weather"), ("arguments", '{"城市": "臺')],
    ),
    "thought": (f"<think>\n要查。\n\n再想\n</think>\n\n{WEATHER}", [("thought", "要查。\n\n再想"), *CALLED]),
    "empty thought": ("<think>\n\n</think>\n\n  好", [("text", "  好")]),
    "markup in a thought": (
        f"<think>用 <think> 或 {WEATHER} 嗎？</think>不用。",
        [("thought", f"用 <think> 或 {WEATHER} 嗎？"), ("text", "不用。")],
    ),
    "unfinished thought": ("<think>還在想 </thi", [("thought", "還在想 </thi")]),
    "a mark spoken of": ("標記是 <think>…</think>。", [("text", "標記是 <think>…</think>。")]),
}
"""What a model of the Hermes family writes → what it is."""


@pytest.mark.parametrize(("text", "expected"), REPLIES.values(), ids=list(REPLIES))
def test_a_reply_is_read(text: str, expected: list[tuple[str, str]]) -> None:
    assert read(text) == expected


@pytest.mark.parametrize(("text", "expected"), REPLIES.values(), ids=list(REPLIES))
@given(st.data())
def test_any_cut_reads_the_same(text: str, expected: list[tuple[str, str]], data: st.DataObject) -> None:
    assert read(*data.draw(cuts(text))) == expected
    assert read(*text) == expected


NO_CALLS = [
    "<tool_call>",
    "<tool_call>\n",
    "a <tool_call>好</tool_call>",
    '<tool_call>{"name"',
    '<tool_call>{"name": ""}',
    '<tool_call>{"name": 3, "arguments": {}}</tool_call>',
    '<tool_call>{"name": "f", "arguments": [1]}</tool_call>',
    '<tool_call>{"name": "f", "arguments": "文"}</tool_call>',
    '<tool_call>{"name": "f", "say": 1}</tool_call>',
    '<tool_call>{"name": "\\ud800", "arguments": {}}</tool_call>',
    '<tool_call>{"name": "f\n", "arguments": {}}',
    "<tool_call>{}</tool_call>",
    '<tool_call>["f"]</tool_call>',
    "<tool_call><function=f></function></tool_call>",
    "</tool_call> </think> 1 < 2 <",
    " \n 前後空白 \n ",
]


@pytest.mark.parametrize("text", NO_CALLS)
def test_what_is_no_call_comes_back_as_text(text: str) -> None:
    assert read(text) == read(*text) == [("text", text)]


def test_a_call_follows_what_was_none() -> None:
    assert read(f"<tool_call>\n{WEATHER}") == [("text", "<tool_call>\n"), *CALLED]
    assert read('<tool_call>{"name": "f"{' + WEATHER) == [("text", '<tool_call>{"name": "f"{'), *CALLED]


def test_what_follows_a_call_that_was_told_is_text() -> None:
    assert read('<tool_call>{"name": "weather", "arguments": {"城市": "臺北"}}}</tool_call>') == [
        *CALLED,
        ("text", "}</tool_call>"),
    ]


def test_calls_are_told_as_they_are_written() -> None:
    reader = new_reader()
    assert reader.push('好。\n<tool_call>\n{"name": "wea') == [Event("text", "好。")]
    assert reader.push('ther", "arguments": ') == []
    assert reader.push('{"城') == [Event("call", "weather"), Event("arguments", '{"城')]
    assert reader.push('市": "臺北"') == [Event("arguments", '市": "臺北"')]
    assert reader.push("}}\n</tool_") == [Event("arguments", "}")]
    assert reader.push("call>") == reader.finish() == []


def test_text_waits_for_nothing_but_what_may_be_markup() -> None:
    reader = new_reader()
    assert reader.push("天氣") == [Event("text", "天氣")]
    assert reader.push(" <") == []
    assert reader.push("b") == [Event("text", " <b")]


def test_a_thought_begun_in_the_prompt() -> None:
    assert read("要想。\n</think>\n\n好", thought_open=True) == [("thought", "要想。"), ("text", "好")]
    assert read("還沒想完", thought_open=True) == [("thought", "還沒想完")]
    assert read("\n", "想", "\n", "\n", "好", "\n", thought_open=True) == [("thought", "想\n\n好\n")]


def test_without_tools_only_the_thought_is_parted() -> None:
    assert read(f"<think>想</think>{WEATHER}", tools=False) == [("thought", "想"), ("text", WEATHER)]


PLAIN = st.text(st.characters(exclude_categories=["Cs"]) | st.sampled_from("<>[]{}`\"\\ \n,:'tool_call|think/"))


@given(PLAIN, st.data())
def test_text_without_markup_comes_back_unchanged(text: str, data: st.DataObject) -> None:
    assert read(*data.draw(cuts(text))) == ([("text", text)] if text else [])


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(st.characters(exclude_categories=["Cs"]), max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text('甲乙ab"\\{}[]', max_size=4), inner, max_size=3)
    ),
    max_leaves=8,
)
ARGUMENTS = st.dictionaries(st.text('城市ab"}{', max_size=4), JSON, max_size=3)


@given(ARGUMENTS, st.booleans(), st.data())
def test_arguments_are_the_characters_written(arguments: dict, escaped: bool, data: st.DataObject) -> None:
    written = json.dumps(arguments, ensure_ascii=escaped, indent=data.draw(st.sampled_from([None, 1])))
    text = f'<tool_call>\n{{"name": "f", "arguments": {written}}}\n</tool_call>'
    assert read(*data.draw(cuts(text))) == [("call", "f"), ("arguments", written)]


@pytest.mark.parametrize(
    ("question", "prompt_ends", "expected"),
    [("嗯", "", False), ("嗯", "<think>\n", True), ("嗯", "<think>\n\n</think>\n\n", False), ("<think>", "", False)],
)
def test_a_prompt_that_begins_the_thought(question: str, prompt_ends: str, expected: bool) -> None:
    tokenizer = tokenizer_of("qwen3")
    ids = render([{"role": "user", "content": question}], tokenizer, add_generation_prompt=True).ids
    assert ends_in_thought([*ids, *tokenizer.encode(prompt_ends)], tokenizer) == expected
