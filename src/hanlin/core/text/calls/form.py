"""A reply that has to call: a grammar of the family's markup around each tool's JSON schema."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from itertools import chain, zip_longest
from typing import Any

from hanlin.core.run.errors import RequestError
from hanlin.core.text.calls.family import family_of, spelled_by
from hanlin.core.text.calls.thoughts import pairs_of
from hanlin.core.text.chat_format import format_of
from hanlin.core.text.json_schema import JSON_OPTIONS, with_ascii_refs
from hanlin.core.text.tokenizer import Tokenizer

MAX_CALLS = 16
"""In one reply. Without a bound a small model may go on calling until its tokens are spent."""

PAGE = "docs/tools.md"
Schema = dict[str, Any]


def shows_tools(tokenizer: Tokenizer) -> bool:
    """Whether the chat template shows a model the tools it may call."""
    return format_of(tokenizer).shows_tools


def form_of_calls(
    tokenizer: Tokenizer,
    tools: Sequence[Mapping[str, Any]],
    *,
    only: str = "",
    parallel: bool = True,
    thought_open: bool = False,
) -> str:
    """A Lark grammar for `Sampling.grammar`: the reply calls one of the tools in the markup of the model's family, its
    arguments following the tool's JSON schema.

    tools: as OpenAI's API takes them. only: the one function that may be called. parallel: up to 16 calls in a row.
    thought_open: the prompt has begun a thought, which the reply first ends.
    Raises RequestError where the template shows no tools, for a function that is not among them, and for parameters
    that are no object.
    """
    if not shows_tools(tokenizer):
        raise _refused("The chat template knows no tools.", "a model whose template shows them")
    schemas = _schemas(tools)
    chosen = {name: schema for name, schema in schemas.items() if not only or name == only}
    if not chosen:
        raise _refused(f"There is no tool {only!r} to call.", f"one of {', '.join(schemas) or 'at least one tool'}")
    form = family_of(tokenizer).form(spelled_by(tokenizer))

    def literal(text: str) -> str:
        return _literal(text, tokenizer)

    more = f"({literal(form.separator)} call){{0,{MAX_CALLS - 1}}}" if parallel else ""
    thought = "thought" if thought_open else ""
    lines = ["start: " + " ".join(filter(None, (thought, literal(form.opening), "call", more, literal(form.closing))))]
    lines.append("call: " + " | ".join(f"call_{place}" for place in range(len(chosen))))
    for place, (name, schema) in enumerate(chosen.items()):
        spelled = json.dumps(json.dumps(name, ensure_ascii=False)[1:-1], ensure_ascii=False)
        parts = (literal(form.before), spelled, literal(form.between), f"arguments_{place}", literal(form.after))
        lines.append(f"call_{place}: {' '.join(parts)}")
        lines.append(f"arguments_{place}: %json {json.dumps(schema, ensure_ascii=False)}")
    return "\n".join([*lines, *(_thought(tokenizer) if thought_open else ())]) + "\n"


def _thought(tokenizer: Tokenizer) -> list[str]:
    """The rules of a thought up to the mark that ends it."""
    close = pairs_of(format_of(tokenizer).template)[0][1]
    if tokenizer.backend.token_to_id(close) in tokenizer.special_ids:
        return [f"thought: /(?s:.*)/ {_literal(close, tokenizer)}"]
    return ['thought: thought_text "\\n\\n"?', f"thought_text[suffix={json.dumps(close)}]: /(?s:.*)/"]


def _schemas(tools: Sequence[Mapping[str, Any]]) -> dict[str, Schema]:
    """Function's name → schema of its arguments."""
    functions = [tool.get("function", tool) for tool in tools]
    return {function["name"]: _arguments_schema(function["name"], function.get("parameters")) for function in functions}


def _arguments_schema(name: str, parameters: Any) -> Schema:
    """An object, and nothing in it that the schema does not speak of: what is only not forbidden, a model would go on
    making up. The arguments follow the schema all the same."""
    schema = {} if parameters is None or parameters is True else parameters
    if not isinstance(schema, dict) or schema.get("type", "object") != "object":
        raise _refused(f"The parameters of {name} are no JSON schema of an object.", '{"type": "object", …}')
    closed: Schema = {} if OPENING & schema.keys() else {"additionalProperties": False}
    return {"type": "object", **closed, **with_ascii_refs(schema), "x-guidance": JSON_OPTIONS}


OPENING = {"additionalProperties", "patternProperties", "allOf", "anyOf", "oneOf", "$ref", "unevaluatedProperties"}
"""Keywords that let further properties in."""


def _literal(text: str, tokenizer: Tokenizer) -> str:
    """A text in the grammar, its special tokens by their ids."""
    parts = tokenizer.split_special(text)
    texts, tokens = parts[::2], [f"<[{tokenizer.id_of(name)}]>" for name in parts[1::2]]
    spelled = [json.dumps(text, ensure_ascii=False) if text else "" for text in texts]
    return " ".join(filter(None, chain.from_iterable(zip_longest(spelled, tokens, fillvalue=""))))


def _refused(message: str, expected: str) -> RequestError:
    return RequestError(message, expected, "use another model, or correct `tools` and `tool_choice`", PAGE)
