"""Every schema of schemas.jsonl, written by random draws at temperature 1: each reply parses and is valid."""

from __future__ import annotations

import json
import re
from datetime import date
from pathlib import Path
from typing import Any

import pytest
import torch
from jsonschema import Draft202012Validator, FormatChecker
from jsonschema.validators import validator_for

from hanlin.core.generate.constrain import constraint_of
from hanlin.core.generate.sampling import Sampler, Sampling
from hanlin.core.model.pretrained import Pretrained, load
from hanlin.core.text.tokenizer import StreamDecoder

LINES = (Path(__file__).parent / "schemas.jsonl").read_text(encoding="utf-8").splitlines()
SCHEMAS: dict[str, Any] = {case["name"]: case["schema"] for case in map(json.loads, LINES)}

MAX_TOKENS = 600
ENDS = {'"': 0.1, "}": 0.06, "]": 0.06, ",": 0.03, "。": 0.05, "@": 0.05, "0": 0.02}
"""Added to the logit of these tokens for each token written, so that random texts come to an end. 。, @ and 0 are what
some of the schemas can't end without."""

FORMATS = FormatChecker(formats=("ipv4", "ipv6", "email", "uuid"))
CLOCK = r"([01]\d|2[0-3]):[0-5]\d:([0-5]\d|60)(\.\d+)?([zZ]|[+-]([01]\d|2[0-3]):[0-5]\d)"


@FORMATS.checks("date", raises=ValueError)
def is_date(value: Any) -> bool:
    """February has 29 days in every year: which years are leap years is more than a grammar of this kind can say."""
    return not isinstance(value, str) or (value[:4].isdecimal() and bool(date.fromisoformat("2000" + value[4:])))


@FORMATS.checks("time")
def is_time(value: Any) -> bool:
    return not isinstance(value, str) or bool(re.fullmatch(CLOCK, value))


@FORMATS.checks("date-time", raises=ValueError)
def is_date_time(value: Any) -> bool:
    return not isinstance(value, str) or (is_date(value[:10]) and value[10] in "tT" and is_time(value[11:]))


@FORMATS.checks("hostname")
def is_hostname(value: Any) -> bool:
    return not isinstance(value, str) or all(re.fullmatch("[a-zA-Z0-9-]{1,63}", part) for part in value.split("."))


@FORMATS.checks("uri")
def is_uri(value: Any) -> bool:
    return not isinstance(value, str) or bool(re.fullmatch(r"[a-zA-Z][a-zA-Z0-9+.-]*:[!-~]*", value))


@FORMATS.checks("duration")
def is_duration(value: Any) -> bool:
    pattern = r"P(?=.)(\d+W|(\d+Y)?(\d+M)?(\d+D)?(T(?=\d)(\d+H)?(\d+M)?(\d+S)?)?)"
    return not isinstance(value, str) or bool(re.fullmatch(pattern, value))


@pytest.fixture(scope="module")
def loaded(tiny_model_folder) -> Pretrained:
    return load(tiny_model_folder)


@pytest.fixture(scope="module")
def ends_V(loaded: Pretrained) -> torch.Tensor:
    ends_V = torch.zeros(loaded.model.vocab_size)
    for text, weight in ENDS.items():
        for token in loaded.tokenizer.encode(text):
            ends_V[token] = weight
    return ends_V.index_fill(0, torch.tensor(sorted(loaded.stop_ids)), 0.2)


def test_there_are_schemas_enough() -> None:
    assert len(SCHEMAS) == len(LINES) >= 200


@pytest.mark.parametrize("name", SCHEMAS)
def test_every_reply_is_valid(loaded: Pretrained, ends_V: torch.Tensor, name: str) -> None:
    schema = SCHEMAS[name]
    validator_class = validator_for(schema, default=Draft202012Validator)
    validator_class.check_schema(schema)
    validator = validator_class(schema, format_checker=FORMATS)
    options = {"temperature": 1, "top_p": 1, "repetition_penalty": 1, "json_schema": json.dumps(schema)}
    for seed in range(2):
        text = written(loaded, Sampling(**options, seed=seed), ends_V)
        validator.validate(json.loads(text))


def written(loaded: Pretrained, sampling: Sampling, ends_V: torch.Tensor) -> str:
    constraint, sampler, decoder = (
        constraint_of(sampling, loaded),
        Sampler(sampling, []),
        StreamDecoder(loaded.tokenizer),
    )
    noise, text = torch.Generator().manual_seed(sampling.seed), ""
    for step in range(MAX_TOKENS):
        logits_V = 2 * torch.randn(loaded.model.vocab_size, generator=noise) + step * ends_V
        token = sampler.draw(logits_V, constraint.allowed())
        constraint.accept(token)
        if token in loaded.stop_ids:
            return text + decoder.finish()
        text += decoder.push(token)
    raise AssertionError(f"no end after {MAX_TOKENS} tokens: {text}")
