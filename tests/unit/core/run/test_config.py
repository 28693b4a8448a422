"""Options: reading, refusing, answering."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field, ValidationError

from hanlin.core.run.config import Config, build, option_names, option_table, parse_overrides
from hanlin.core.run.errors import HanlinError


class Inner(Config):
    depth: int = Field(4, ge=1, description="layers")


class Options(Config):
    model: Inner = Inner()
    seed: int = Field(0, description="random seed")
    name: str = Field(description="required")


def test_overrides_are_yaml_values():
    assert parse_overrides(["a.b=6", "a.c=[x, y]", "d=", "e=true", "f=a=b", "g=一"]) == {
        "a": {"b": 6, "c": ["x", "y"]},
        "d": "",
        "e": True,
        "f": "a=b",
        "g": "一",
    }


@given(st.dictionaries(st.from_regex(r"[a-z]{1,5}", fullmatch=True), st.integers() | st.booleans(), max_size=5))
def test_overrides_read_back(values):
    assert parse_overrides([f"{name}={str(value).lower()}" for name, value in values.items()]) == values


@pytest.mark.parametrize("words", [["depth"], ["=3"], ["a=1", "a.b=2"]])
def test_words_that_are_no_options(words):
    with pytest.raises(HanlinError):
        parse_overrides(words)


def test_values_are_checked_and_frozen():
    options = build(Options, {"name": "x", "model": {"depth": 2}}, "demo")
    assert (options.model.depth, options.seed) == (2, 0)
    with pytest.raises(ValidationError):
        options.seed = 1


@pytest.mark.parametrize(
    "values, message",
    [
        ({"name": "x", "sed": 1}, 'did you mean "seed"'),
        ({"name": "x", "model": {"dept": 1}}, 'did you mean "model.depth"'),
        (
            {"name": "x", "model": {"depth": 0}},
            'Option "model.depth" of demo: .*greater than or equal to 1.* \\(given: 0\\)',
        ),
        ({"name": "x", "seed": "many"}, 'Option "seed" of demo'),
        ({}, 'Option "name" of demo: Field required'),
    ],
)
def test_wrong_options_are_answered(values, message):
    with pytest.raises(HanlinError, match=message):
        build(Options, values, "demo")


def test_names_and_table():
    assert option_names(Options) == ["model", "model.depth", "seed", "name"]
    assert option_table(Options) == [
        ("model.depth", "4", "layers"),
        ("seed", "0", "random seed"),
        ("name", "required", "required"),
    ]
