"""Calls in each family's markup: what its template renders is read back, whichever way it is cut."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest
from chat_templates import TOOLS, call, calling
from hypothesis import given, settings
from hypothesis import strategies as st
from samples import user
from tool_callers import CALLERS, caller, joined

from hanlin.core.text.calls import reader_of, shows_tools
from hanlin.core.text.calls.family import FAMILIES, family_of
from hanlin.core.text.calls.python_calls import calls_in
from hanlin.core.text.chat import render
from hanlin.core.text.tokenizer import StreamDecoder, Tokenizer

Found = list[tuple[str, str]]


def read(name: str, pieces: Sequence[str]) -> Found:
    reader = reader_of(caller(name), tools=True, thought_open=False)
    events = [event for piece in pieces for event in reader.push(piece)]
    return joined([*events, *reader.finish()])


def read_tokens(tokenizer: Tokenizer, ids: Sequence[int]) -> Found:
    """As the engine hands them on: special tokens show no text."""
    reader, decoder = reader_of(tokenizer, tools=True, thought_open=False), StreamDecoder(tokenizer)
    events = [event for token in ids for event in reader.push(decoder.push(token), token)]
    return joined([*events, *reader.push(decoder.finish()), *reader.finish()])


def called(*calls: tuple[str, Any]) -> Found:
    return [event for name, arguments in calls for event in (("call", name), ("arguments", arguments))]


def loaded(found: Found) -> list[tuple[str, Any]]:
    return [(kind, json.loads(text) if kind == "arguments" else text) for kind, text in found]


def test_a_family_is_known_by_its_template() -> None:
    names = [family_of(caller(name)).__name__.rpartition(".")[2] for name in (*CALLERS, "llama3", "chatml")]
    assert names == ["hermes", "mistral", "mistral", "llama3", "gemma", "llama3", "hermes"]


def test_templates_that_show_tools() -> None:
    assert all(shows_tools(caller(name)) for name in CALLERS)
    assert not any(shows_tools(caller(name)) for name in ("chatml", "llama3", "phi3", "vicuna"))


A, B = '{"城市": "臺北"}', '{"n": [1, {"x": "}"}]}'
ONE, TWO = called(("f", A)), called(("f", A), ("g.h", B))

REPLIES: list[tuple[str, str, Found]] = [
    ("llama31", f'{{"name": "f", "parameters": {A}}}', ONE),
    ("llama31", f'\n\n{{"type": "function", "name": "f", "parameters": {A}}}', ONE),
    ("llama31", f'<|python_tag|>{{"name": "f", "parameters": {A}}}; {{"name": "g.h", "parameters": {B}}}', TWO),
    ("llama31", f'{{"name": "f", "parameters": {A}}};<|python_tag|>{{"name": "g.h", "parameters": {B}}}', TWO),
    ("llama31", f'<think>想</think>{{"name": "f", "arguments": {A}}}', [("thought", "想"), *ONE]),
    ("llama31", f'{{"name": "f", "parameters": {A}}}; 好', [*ONE, ("text", "; 好")]),
    ("mistral", f'[TOOL_CALLS] [{{"name": "f", "arguments": {A}, "id": "abcdef123"}}]', ONE),
    (
        "mistral",
        f'好。[TOOL_CALLS][{{"name": "f", "arguments": {A}}}, {{"arguments": {B}, "name": "g.h"}}]',
        [("text", "好。"), *TWO],
    ),
    ("mistral", f'[TOOL_CALLS] [{{"name": "f", "arguments": {A}}}] 完', [*ONE, ("text", "完")]),
    ("mistral", f"[TOOL_CALLS]f{A}", ONE),
    ("mistral11", f"[TOOL_CALLS]f[ARGS]{A}[TOOL_CALLS]g.h[ARGS]{B}", TWO),
    ("mistral11", f"[TOOL_CALLS]f[CALL_ID]abcdef123[ARGS]{A}", ONE),
    ("mistral11", f"[THINK]想[/THINK][TOOL_CALLS]f[ARGS]{A}", [("thought", "想"), *ONE]),
    ("gemma", f'[{{"name": "f", "parameters": {A}}}, {{"name": "g.h", "parameters": {B}}}]', TWO),
    ("gemma", f'```json\n{{"name": "f", "parameters": {A}}}\n```\n', ONE),
    ("gemma", f'好。\n```json\n[\n{{"name": "f", "parameters": {A}}}\n]\n```', [("text", "好。"), *ONE]),
    ("gemma", '```tool_code\nf(城市="臺北")\ng.h(n=[1, {"x": "}"}])\n```', TWO),
    ("gemma", '```tool_code\nprint(f(城市="臺北"))\n```\n好', [*ONE, ("text", "好")]),
    ("gemma", '[f(城市="臺北"), g.h(n=[1, {"x": "}"}])]\n', TWO),
    ("gemma", "```tool_code\nf(a=True, b=None, c=-1.5)", called(("f", '{"a": true, "b": null, "c": -1.5}'))),
]


@pytest.mark.parametrize(("name", "text", "expected"), REPLIES)
@given(st.data())
@settings(max_examples=20)
def test_any_cut_reads_the_same(name: str, text: str, expected: Found, data: st.DataObject) -> None:
    places = sorted(data.draw(st.sets(st.integers(0, len(text)), max_size=8)))
    pieces = [text[start:end] for start, end in zip([0, *places], [*places, len(text)], strict=True)]
    assert read(name, [text]) == read(name, text) == read(name, pieces) == expected


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("llama31", '{"name": "一本書", "pages": 3}'),
        ("llama31", '{"name": "f"}'),
        ("llama31", "{}"),
        ("llama31", '{"city": "臺北"}'),
        ("llama31", '文字 {"name": "f", "parameters": {}}'),
        ("llama31", '<|python_tag|>brave_search.call(query="天氣")'),
        ("mistral", "[TOOL_CALLS]"),
        ("mistral", "[TOOL_CALLS] 好"),
        ("mistral", "[TOOL_CALLS] [1]"),
        ("mistral", "[INST]天氣"),
        ("mistral11", "[TOOL_CALLS]f[ARGS]好"),
        ("gemma", "[1] 註解"),
        ("gemma", "[說明](網址) 好"),
        ("gemma", "[f(x)] 是矩陣"),
        ("gemma", '```json\n{"城市": "臺北"}\n```'),
        ("gemma", "```tool_code\nimport os\n```"),
        ("gemma", "```tool_code\nf(x)\n```"),
        ("gemma", "```tool_code\nf(a=1)(b=2)\n```"),
        ("gemma", "```tool_code\nf(**{'a': 1})\n```"),
        ("gemma", "```tool_code\nf(a=open('x'))\n```"),
        ("gemma", "```tool_code\nf(a=1e999, b={1})\n```"),
        ("gemma", "```python\nf(a=1)\n```"),
    ],
)
def test_what_is_no_call_comes_back_as_text(name: str, text: str) -> None:
    assert read(name, [text]) == read(name, text) == [("text", text)]


MARKUP = '<>[]{}`"\\ \n,:;()=' + "namf|o"
PLAIN = st.text(st.characters(exclude_categories=["Cs"]) | st.sampled_from(MARKUP))


@pytest.mark.parametrize("name", CALLERS)
@given(PLAIN)
def test_text_without_markup_comes_back_unchanged(name: str, text: str) -> None:
    assert read(name, text) == ([("text", text)] if text else [])


@pytest.mark.parametrize(
    "code", ["-" * 9000 + "1", "f(a=" + "[" * 9000, "f(a=" + "(" * 90 + "1" + ")" * 90 + ")", "f.a" * 4000]
)
def test_hostile_python_is_no_call(code: str) -> None:
    assert calls_in(code) == [] or code.startswith("f(a=((")


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**6), 10**6) | st.text("臺北ab \"'\\<{}[]\n,;", max_size=8),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text("鍵ab", max_size=3), inner, max_size=2),
    max_leaves=5,
)
CALLS = st.lists(
    st.tuples(st.sampled_from(["weather", "now"]), st.dictionaries(st.text("城市ab", max_size=3), VALUES, max_size=2)),
    min_size=1,
    max_size=3,
)


@pytest.mark.parametrize("name", CALLERS)
@given(CALLS)
@settings(max_examples=25, deadline=None)
def test_what_a_template_renders_is_read_back(name: str, calls: list[tuple[str, dict[str, Any]]]) -> None:
    tokenizer, asked = caller(name), [user("臺北天氣？")]
    made = calling(*(call(function, place, **arguments) for place, (function, arguments) in enumerate(calls)))
    whole = render([*asked, made], tokenizer, tools=TOOLS)
    reply = [token for token, trained in zip(whole.ids, whole.trained, strict=True) if trained]
    expected = [event for function, arguments in calls for event in (("call", function), ("arguments", arguments))]
    assert loaded(read_tokens(tokenizer, reply)) == expected


def test_every_family_has_a_form_and_a_guide() -> None:
    assert all(family.__doc__ and "https://" in family.__doc__ for family in FAMILIES)
