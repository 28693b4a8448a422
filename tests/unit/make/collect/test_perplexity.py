"""Rows measured by a model: equal to the likelihood computed for each alone."""

from __future__ import annotations

import json
import math

import pytest
from pydantic import ValidationError
from samples import SENTENCES, assistant, user

from hanlin.core.generate.stream import text_prompt
from hanlin.core.model.likelihood import document_likelihood
from hanlin.core.model.pretrained import load
from hanlin.core.run.artifact import Artifact
from hanlin.core.run.errors import HanlinError
from hanlin.core.run.events import silent
from hanlin.core.run.sources import fetch
from hanlin.core.text.documents import Row, read_rows
from hanlin.make.collect.config import Collect
from hanlin.make.collect.run import run
from hanlin.make.collect.steps import perplexity
from hanlin.make.collect.steps.perplexity import Perplexity
from hanlin.make.collect.steps.step import Context

ROWS = [Row(str(i), text=text * (1 + i % 3)) for i, text in enumerate(SENTENCES[:9])]


@pytest.fixture
def inputs(tiny_model_folder):
    return {"model": Artifact(tiny_model_folder, "model", "tiny", None)}


def step(inputs, tmp_path, **options):
    chosen, context = Perplexity(**options), Context(inputs, tmp_path)
    perplexity.prepare(chosen, context, silent)
    return perplexity.make(chosen, context)


def test_bits_per_character_are_those_of_each_row_alone(inputs, tmp_path, tiny_model_folder):
    loaded = load(tiny_model_folder)
    out = list(step(inputs, tmp_path, context=16)(ROWS))
    for row in out:
        alone = document_likelihood(loaded.model, [(text_prompt(loaded, row.text), len(row.text))], 16)
        assert row.notes["perplexity"] == pytest.approx(alone.bits_per_character, abs=1e-4) and not row.reason
    assert [row.notes for row in step(inputs, tmp_path, context=16)(ROWS)] == [row.notes for row in out]
    assert all(0 < row.notes["perplexity"] < 100 and math.isfinite(row.notes["perplexity"]) for row in out)


def test_bounds(inputs, tmp_path):
    bits = sorted(row.notes["perplexity"] for row in step(inputs, tmp_path)(ROWS))
    least, most = (bits[1] + bits[2]) / 2, (bits[-2] + bits[-3]) / 2
    out = list(step(inputs, tmp_path, least_bits=least, most_bits=most)(ROWS))
    reasons = [row.reason.partition(":")[0] for row in out]
    assert reasons.count("easy to predict") == 2 and reasons.count("hard to predict") == 2
    assert f"> {most:.3f} bits per character" in next(row.reason for row in out if row.reason.startswith("hard"))


def test_percentiles_are_of_the_whole_corpus(inputs, tmp_path):
    survey = step(inputs, tmp_path, least_percentile=20, most_percentile=80)
    shards = [ROWS[:5], ROWS[5:], []]
    verdicts = list(survey.decide([survey.look(rows) for rows in shards]))
    out = [row for rows, verdict in zip(shards, verdicts) for row in survey.apply(rows, verdict)]
    assert [row.id for row in out] == [row.id for row in ROWS]
    order = sorted(out, key=lambda row: row.notes["perplexity"])
    assert [bool(row.reason) for row in order] == [True] * 2 + [False] * 5 + [True] * 2
    assert list(survey.decide([])) == []


def test_conversations_are_read_as_text(inputs, tmp_path):
    chat = Row("c", messages=(user("玉山多高？"), assistant("三千九百五十二公尺。")))
    text = Row("t", text="玉山多高？\n三千九百五十二公尺。")
    found = [row.notes["perplexity"] for row in step(inputs, tmp_path)([chat, text])]
    assert found[0] == found[1]
    assert step(inputs, tmp_path)([]) == []


def test_in_the_room(inputs, tmp_path):
    source = tmp_path / "source"
    source.mkdir()
    lines = [json.dumps({"text": text}, ensure_ascii=False) for text in SENTENCES[:8]]
    (source / "rows.jsonl").write_text("\n".join(lines), encoding="utf-8")
    out = tmp_path / "out"
    out.mkdir()
    steps = [{"step": "perplexity", "most_percentile": 75}]
    run(Collect(steps=steps, min_chars=1), {"sources.0": fetch(str(source), silent), **inputs}, out, silent)
    rejected = list(read_rows(out, "rejected"))
    assert len(rejected) == 2 and all(row.reason.startswith("hard to predict: ") for row in rejected)


def test_what_can_not_be_done(tmp_path):
    with pytest.raises(HanlinError, match="has no model"):
        step({}, tmp_path)
    with pytest.raises(ValidationError, match="most_bits"):
        Perplexity(least_bits=3, most_bits=2)
    with pytest.raises(ValidationError, match="most_percentile"):
        Perplexity(least_percentile=50, most_percentile=50)
