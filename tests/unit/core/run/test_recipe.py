"""Recipes: order, needs, and what is refused with the file's name."""

from __future__ import annotations

from pathlib import Path

import pytest

from hanlin.core.run.errors import HanlinError
from hanlin.core.run.recipe import load_recipe
from hanlin.rooms import ROOMS

RECIPE = """
out: runs/x
steps:
  base:      {room: pretrain, corpus: corpus, tokenizer: tokenizer, model: {depth: 4}}
  tokenizer: {room: tokenize, corpus: corpus}
  corpus:    {room: collect, sources: [my_folder/]}
"""


@pytest.fixture
def load(tmp_path):
    def load_text(text: str, overrides=None):
        (tmp_path / "r.yaml").write_text(text, encoding="utf-8")
        return load_recipe(tmp_path / "r.yaml", ROOMS, overrides)

    return load_text


def test_steps_come_after_what_they_need(load):
    recipe = load(RECIPE)
    assert [step.name for step in recipe.steps] == ["corpus", "tokenizer", "base"]
    assert recipe.steps[2].needs == ("corpus", "tokenizer") and recipe.out == Path("runs/x")


def test_overrides(load):
    recipe = load(RECIPE, {"base": {"model": {"depth": 6}, "train": {"minutes": 1}}, "out": "elsewhere"})
    assert recipe.steps[2].values["model"] == {"depth": 6} and recipe.steps[2].values["train"] == {"minutes": 1}
    assert recipe.out == Path("elsewhere")
    assert load("steps: {corpus: {room: collect}}").out == Path("runs/r")


@pytest.mark.parametrize(
    "text, message",
    [
        ("steps: {a: {room: tokenize, corpus: b}, b: {room: tokenize, corpus: a}}", "go in a circle: a → b → a"),
        ("steps: {a: {room: tokenize, corpus: a}}", "go in a circle: a → a"),
        ("steps: {a: {room: colect}}", 'there is no room "colect"'),
        ("steps: {a: {sources: x}}", 'step "a" names no room'),
        ("steps: {a: }", 'step "a" names no room'),
        ("step: {}", "has no steps"),
        ("steps: {a: {room: collect}}\nouts: x", 'unknown key "outs"'),
        ("steps: {a: [}", r"r\.yaml:1 is not readable YAML"),
    ],
)
def test_recipes_that_cannot_run(load, text, message):
    with pytest.raises(HanlinError, match=message):
        load(text)


def test_overrides_of_unknown_steps_and_whole_steps(load):
    with pytest.raises(HanlinError, match='did you mean "tokenizer"'):
        load(RECIPE, {"tokeniser": {"vocab_size": 1}})
    with pytest.raises(HanlinError, match="sets a whole step"):
        load(RECIPE, {"base": 3})
    with pytest.raises(HanlinError, match="names no room"):
        load("steps: {a: }", {"a": {"x": 1}})


def test_a_missing_recipe(tmp_path):
    with pytest.raises(HanlinError, match="does not exist"):
        load_recipe(tmp_path / "none.yaml", ROOMS)


def test_a_recipe_uses_another(load, tmp_path):
    first = "out: runs/first\n" + RECIPE.split("\n", 2)[2] + "  unused: {room: collect, sources: [my_folder/]}\n"
    (tmp_path / "first.yaml").write_text(first, encoding="utf-8")
    recipe = load("use: first.yaml\nsteps: {chat: {room: finetune, model: base, data: corpus}}", {"base": {"seed": 1}})
    assert [step.name for step in recipe.steps] == ["corpus", "tokenizer", "base", "chat"]
    assert recipe.out == Path("runs/r") and recipe.steps[2].values["seed"] == 1
    with pytest.raises(HanlinError, match='both have a step "corpus"'):
        load("use: first.yaml\nsteps: {corpus: {room: collect, sources: x}}")
    with pytest.raises(HanlinError, match="which uses it"):
        load("use: r.yaml\nsteps: {corpus: {room: collect, sources: x}}")


def test_steps_without_their_program_are_left_out(load):
    recipe = load("""
steps:
  all:    {room: collect, sources: [law, poems, rhymes]}
  only:   {room: tokenize, corpus: rhymes}
  law:    {room: collect, where: sh, sources: [law/]}
  rhymes: {room: collect, sources: [poems]}
  poems:  {room: collect, where: no-such-program, sources: [poems/]}
""")
    assert [step.name for step in recipe.steps] == ["law", "all"]
    assert recipe.steps[1].values["sources"] == ["law"]
    assert dict(recipe.left_out) == dict.fromkeys(("poems", "rhymes", "only"), "no-such-program")
