"""Form and script together."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path

import pytest
from toy import Answer, assert_four_lines, command  # noqa: F401

from hanlin.core.generate.constrain import constraint_of
from hanlin.core.generate.sampling import Sampling
from hanlin.core.model.pretrained import Pretrained, load
from hanlin.core.run.errors import HanlinError
from hanlin.core.text.script import simplified_only


@pytest.fixture(scope="module")
def loaded(tiny_model_folder) -> Pretrained:
    return load(tiny_model_folder)


def test_both_masks_hold(loaded: Pretrained) -> None:
    form = Sampling(regex="[一-龥]{12}", script="zh-TW")
    alone, ids_alone, ids_both = {"regex": form.regex}, set(), set()
    for sampling, seen in ((Sampling(**alone), ids_alone), (form, ids_both)):
        for seed in range(8):
            seen |= set(written(loaded, sampling, seed))
    assert simplified_only() & ids_alone, "the form alone lets them through"
    assert not simplified_only() & ids_both


def written(loaded: Pretrained, sampling: Sampling, seed: int) -> str:
    constraint, draw, ids = constraint_of(sampling, loaded), random.Random(seed), []
    while not loaded.stop_ids.intersection(ids[-1:]):
        allowed = constraint.allowed().nonzero()[:, 0].tolist()
        ids.append(draw.choice(allowed))
        constraint.accept(ids[-1])
    return loaded.tokenizer.decode(ids)


@pytest.mark.parametrize(
    "options",
    [
        {"choices": ["軟體", "软件"]},
        {"regex": "(国|中)"},
        {"grammar": 'start: "说"'},
        {"json_schema": json.dumps({"enum": ["台湾"]})},
        {"json_schema": json.dumps({"type": "object", "properties": {"软件": {}}})},
        {"json_schema": json.dumps({"items": {"properties": {"const": {"const": {"a": ["软"]}}}}})},
    ],
)
def test_a_form_that_spells_simplified_contradicts_the_script(loaded: Pretrained, options: dict) -> None:
    assert constraint_of(Sampling(**options), loaded) is not None
    with pytest.raises(HanlinError, match="rules out"):
        constraint_of(Sampling(**options, script="zh-TW"), loaded)


def test_what_a_schema_only_describes_may_be_simplified(loaded: Pretrained) -> None:
    schema = json.dumps({"description": "软件的名称", "enum": ["軟體"], "title": "软件"})
    assert constraint_of(Sampling(json_schema=schema, script="zh-TW"), loaded).allowed().any()


def test_a_form_of_simplified_characters_alone_ends_in_words(loaded: Pretrained) -> None:
    """A range spells none, so it is seen when it comes to that."""
    sampling = Sampling(regex="[\\u8bc0-\\u8bff]", script="zh-TW")
    with pytest.raises(HanlinError, match="script=zh-TW rules out"):
        written(loaded, sampling, 0)


def test_the_command_line_reads_forms(command: Callable[..., Answer], tiny_model_folder: Path) -> None:  # noqa: F811
    """Options are YAML, and a schema's text is one of its objects."""
    schema = '{"type": "array", "items": {"enum": ["是", "否", 1]}, "minItems": 1, "maxItems": 2}'
    written = command("generate", tiny_model_folder, "問：", f"json_schema={schema}", "temperature=1")
    assert written.code == 0 and set(json.loads(written.out.removeprefix("問："))) <= {"是", "否", 1}
    assert command("generate", tiny_model_folder, "問：", "choices=[合憲,違憲]").out[2:].strip() in ("合憲", "違憲")
    assert_four_lines(command("generate", tiny_model_folder, "問：", "regex=[0-9"), "regex", "unclosed")
