"""The constraint a request asks for: a form, a script, or both at once."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import torch

from hanlin.core.generate.constrain.grammar import PAGE, Grammar, grammar_of, no_way_on
from hanlin.core.generate.constrain.script import TraditionalOnly
from hanlin.core.generate.constrain.vocabulary import vocabulary_of
from hanlin.core.generate.sampling import Sampling
from hanlin.core.generate.text import Constraint
from hanlin.core.model.pretrained import Pretrained
from hanlin.core.run.errors import RequestError
from hanlin.core.text.script import simplified_only


def constraint_of(sampling: Sampling, loaded: Pretrained) -> Constraint | None:
    """None where everything may be written. Raises HanlinError for a form that is not supported, can't be read, or
    asks for characters the script rules out."""
    if not (sampling.json_schema or sampling.regex or sampling.grammar or sampling.choices or sampling.script):
        return None
    vocabulary = vocabulary_of(loaded)
    grammar = grammar_of(sampling, vocabulary)
    if grammar is not None and loaded.tokenizer.plan is None:
        raise RequestError(
            "The tokenizer's decoder needs the whole reply to say what a token adds to it.",
            "a tokenizer that shows text token by token, as nearly all do",
            "leave json_schema, regex, grammar and choices out",
            PAGE,
        )
    script = TraditionalOnly(vocabulary) if sampling.script == "zh-TW" else None
    if grammar is None or script is None:
        return grammar or script
    _refuse_simplified(sampling)
    return Both(grammar, script)


class Both:
    """A form in a script: what both allow."""

    def __init__(self, grammar: Grammar, script: TraditionalOnly):
        self._parts = (grammar, script)

    def allowed(self) -> torch.Tensor:
        grammar, script = self._parts
        allowed_V = grammar.allowed() & script.allowed()
        if not allowed_V.any():
            raise no_way_on("what it asks for here has characters that script=zh-TW rules out")
        return allowed_V

    def accept(self, token: int) -> None:
        for part in self._parts:
            part.accept(token)

    def rollback(self, num_tokens: int) -> None:
        for part in self._parts:
            part.rollback(num_tokens)


def _refuse_simplified(sampling: Sampling) -> None:
    """Before the reply begins: once half of such a text is written there is no way on."""
    texts = [sampling.regex, sampling.grammar, *sampling.choices]
    if sampling.json_schema:
        texts += _literals(json.loads(sampling.json_schema))
    found = sorted(set("".join(texts)) & simplified_only())
    if found:
        raise RequestError(
            f"The form asks for {''.join(found[:8])}, which script=zh-TW rules out.",
            "Traditional characters in what the reply has to spell",
            "write them in Traditional, or leave script=zh-TW out",
            f"{PAGE}#script",
        )


def _literals(schema: Any, names: bool = False) -> Iterator[str]:
    """Texts that a JSON schema has the reply spell: names of properties, and the values of const and enum."""
    if isinstance(schema, list):
        for part in schema:
            yield from _literals(part)
    elif isinstance(schema, dict):
        for key, value in schema.items():
            if names:
                yield key
            if key in ("const", "enum", "required", "pattern") and not names:
                yield json.dumps(value, ensure_ascii=False)
            else:
                yield from _literals(value, names=key in ("properties", "patternProperties") and not names)
