"""Calls that are demanded: whatever is drawn under the grammar is read as calls that follow the tools' schemas."""

from __future__ import annotations

import json
import random
from typing import Any

import jsonschema
import pytest
import torch
from chat_templates import TOOLS
from tool_callers import CALLERS, caller, joined

from hanlin.core.generate.constrain.grammar import Grammar, grammar_of
from hanlin.core.generate.constrain.vocabulary import new_vocabulary
from hanlin.core.generate.sampling import Sampling
from hanlin.core.run.errors import RequestError
from hanlin.core.text.calls import form_of_calls, reader_of
from hanlin.core.text.chat import stop_token
from hanlin.core.text.tokenizer import StreamDecoder, Tokenizer

ORDER = {
    "type": "function",
    "function": {
        "name": "訂位-2",
        "parameters": {
            "type": "object",
            "properties": {
                "店": {"$ref": "#/$defs/店"},
                "人數": {"type": "integer", "minimum": 1, "maximum": 20},
                "備註": {"type": "string", "maxLength": 4},
                "座": {"type": "array", "items": {"enum": ["窗", 'a"b']}, "maxItems": 2},
            },
            "required": ["店", "人數"],
            "$defs": {
                "店": {
                    "type": "object",
                    "properties": {"名": {"type": "string", "maxLength": 3}},
                    "required": ["名"],
                    "additionalProperties": False,
                }
            },
        },
    },
}
NOW = {"type": "function", "function": {"name": "now"}}
TOOLSET = [ORDER, NOW]
SCHEMAS = {"訂位-2": ORDER["function"]["parameters"], "now": {"type": "object", "maxProperties": 0}}


def grammar(tokenizer: Tokenizer, text: str) -> Grammar:
    stop = tokenizer.id_of(stop_token(tokenizer))
    found = grammar_of(Sampling(grammar=text), new_vocabulary(tokenizer, tokenizer.vocab_size, frozenset([stop])))
    assert found is not None
    return found


def drawn(tokenizer: Tokenizer, text: str, seed: int) -> list[tuple[str, Any]]:
    """The calls of a reply drawn evenly among the allowed tokens; every third seed takes the greatest of fixed scores,
    as a greedy model does."""
    constraint, stop, draw = grammar(tokenizer, text), tokenizer.id_of(stop_token(tokenizer)), random.Random(seed)
    scores_V = torch.rand(tokenizer.vocab_size, generator=torch.Generator().manual_seed(seed))
    reader, decoder = reader_of(tokenizer, tools=True, thought_open=False), StreamDecoder(tokenizer)
    events = []
    for _ in range(3000):
        allowed_V = constraint.allowed()
        allowed = allowed_V.nonzero()[:, 0].tolist()
        greedy = int(torch.where(allowed_V, scores_V, -1.0).argmax())
        token = greedy if seed % 3 == 0 else stop if stop in allowed and draw.random() < 0.4 else draw.choice(allowed)
        constraint.accept(token)
        if token == stop:
            break
        events += reader.push(decoder.push(token), token)
    else:
        raise AssertionError("no end")
    events += reader.finish()
    assert {event.kind for event in events} == {"call", "arguments"}, "nothing beside the calls"
    calls: list[tuple[str, Any]] = []
    for event in events:
        calls.append((event.text, "")) if event.kind == "call" else calls.append(
            (calls[-1][0], calls.pop()[1] + event.text)
        )
    return [(name, json.loads(arguments)) for name, arguments in calls]


@pytest.mark.parametrize("name", CALLERS)
@pytest.mark.parametrize("parallel", [False, True])
def test_any_draw_calls_as_the_schemas_say(name: str, parallel: bool) -> None:
    tokenizer = caller(name)
    text = form_of_calls(tokenizer, TOOLSET, parallel=parallel)
    replies = [drawn(tokenizer, text, seed) for seed in range(9)]
    for function, arguments in (call for reply in replies for call in reply):
        jsonschema.validate(arguments, SCHEMAS[function])
    lengths = {len(reply) for reply in replies}
    assert lengths == {1} if not parallel else max(lengths) > 1 and max(lengths) <= 16


@pytest.mark.parametrize("name", CALLERS)
def test_a_named_function_is_the_one_called(name: str) -> None:
    text = form_of_calls(caller(name), TOOLSET, only="now", parallel=False)
    assert [drawn(caller(name), text, seed) for seed in range(3)] == [[("now", {})]] * 3


@pytest.mark.parametrize("name", ["qwen3", "mistral11"])
def test_a_thought_begun_in_the_prompt_is_ended_first(name: str) -> None:
    tokenizer = caller(name)
    form = form_of_calls(tokenizer, [NOW], parallel=False, thought_open=True)
    constraint, reader = grammar(tokenizer, form), reader_of(tokenizer, tools=True, thought_open=True)
    close = {"qwen3": "</think>\n\n", "mistral11": "</think>"}[name]
    call = {
        "qwen3": '<tool_call>\n{"name": "now", "arguments": {}}\n</tool_call>',
        "mistral11": "[TOOL_CALLS]now[ARGS]{}",
    }[name]
    decoder, events = StreamDecoder(tokenizer), []
    for token in tokenizer.encode(f"想<一\n想{close}{call}", allow_special=True):
        assert constraint.allowed()[token]
        constraint.accept(token)
        events += reader.push(decoder.push(token), token)
    assert constraint.allowed().nonzero()[:, 0].tolist() == [tokenizer.id_of(stop_token(tokenizer))]
    assert joined([*events, *reader.finish()]) == [("thought", "想<一\n想"), ("call", "now"), ("arguments", "{}")]


def test_chinese_is_demanded_as_it_is() -> None:
    assert "訂位-2" in form_of_calls(caller("qwen3"), TOOLSET)


def test_a_schema_that_lets_more_in_keeps_doing_so() -> None:
    open_tool = {"function": {"name": "f", "parameters": {"additionalProperties": {"type": "integer"}}}}
    assert '"additionalProperties": {"type": "integer"}' in form_of_calls(caller("qwen3"), [open_tool])
    assert '"additionalProperties": false' in form_of_calls(caller("qwen3"), TOOLS)


@pytest.mark.parametrize(
    ("name", "tools", "only", "message"),
    [
        ("llama3", TOOLS, "", "knows no tools"),
        ("qwen3", TOOLS, "weatherr", "no tool 'weatherr'"),
        ("qwen3", [], "", "no tool"),
        ("qwen3", [{"function": {"name": "f", "parameters": {"type": "string"}}}], "", "parameters of f"),
        ("qwen3", [{"function": {"name": "f", "parameters": [1]}}], "", "parameters of f"),
    ],
)
def test_what_cannot_be_called_is_refused(name: str, tools: list[Any], only: str, message: str) -> None:
    with pytest.raises(RequestError, match=message):
        form_of_calls(caller(name), tools, only=only)


def test_a_schema_beyond_a_grammar_is_refused_when_it_is_used() -> None:
    tool = {"function": {"name": "f", "parameters": {"properties": {"a": {"not": {"type": "null"}}}}}}
    with pytest.raises(RequestError, match="Unimplemented keys"):
        grammar(caller("qwen3"), form_of_calls(caller("qwen3"), [tool]))
