"""The classifier that a user trains: it learns, measures itself, and decides alike everywhere."""

from __future__ import annotations

import json
import random
import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from samples import assistant, user

from hanlin.core.run.errors import HanlinError
from hanlin.core.run.events import silent
from hanlin.core.run.sources import fetch
from hanlin.core.text.documents import Row, read_rows
from hanlin.make.collect.config import Collect
from hanlin.make.collect.run import run
from hanlin.make.collect.steps import classifier
from hanlin.make.collect.steps.classifier import Classifier
from hanlin.make.collect.steps.judging.linear import area_under_curve, features, load, train
from hanlin.make.collect.steps.step import Context

LAW = "上訴人 被上訴人 原審 判決 主張 依 民法 第一百八十四條 規定 請求 損害賠償 尚難 認 有 理由 應予 駁回 裁定 抗告"
VERSE = (
    "明月 春風 落花 流水 歸雁 孤舟 江上 故人 千里 白雲 青山 秋夜 相思 何處 不見 長安 夕陽 芳草 斷腸 東籬 把酒 登樓 望遠"
)


def pieces(words, number, seed):
    chance = random.Random(seed)
    return ["".join(chance.choices(words.split(), k=chance.randint(6, 14))) + "。" for _ in range(number)]


def artifact(folder: Path, texts):
    folder.mkdir(parents=True)
    lines = [json.dumps({"text": text}, ensure_ascii=False) for text in texts]
    (folder / "rows.jsonl").write_text("\n".join(lines), encoding="utf-8")
    return fetch(str(folder), silent)


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("examples")
    return {
        "good_examples.0": artifact(folder / "law", pieces(LAW, 150, 1)),
        "bad_examples.0": artifact(folder / "verse", pieces(VERSE, 300, 2)),
    }


def prepared(inputs, work, **options):
    context = Context(inputs, work)
    work.mkdir()
    notes = []
    chosen = Classifier(bits=14, **options)
    classifier.prepare(chosen, context, lambda kind, text: notes.append(text))
    return classifier.make(chosen, context), notes


def test_it_learns_and_says_how_well(inputs, tmp_path):
    step, (note,) = prepared(inputs, tmp_path / "work")
    told = re.search(r"of (\d+) others ([\d.]+) % are told right, AUC (\d\.\d+)", note)
    assert told and int(told[1]) > 20 and float(told[2]) >= 98 and float(told[3]) >= 0.98
    rows = [Row(str(i), text=text) for i, text in enumerate(pieces(LAW, 20, 3) + pieces(VERSE, 20, 4))]
    out = list(step(rows))
    assert [bool(row.reason) for row in out] == [False] * 20 + [True] * 20
    assert re.fullmatch(r"unlike the good examples: 0\.\d{3} < 0\.500", out[-1].reason)
    assert out[0].notes["classifier"] > 0.5 > out[-1].notes["classifier"]
    chat = Row("c", messages=(user(rows[0].text), assistant(rows[1].text)))
    assert not next(iter(step([chat]))).reason


def test_the_same_examples_give_the_same_bits(inputs, tmp_path):
    for name in ("a", "b"):
        prepared(inputs, tmp_path / name)
    first, second = (load(tmp_path / name / "classifier.npz").weights for name in ("a", "b"))
    assert np.array_equal(first, second) and first.dtype == np.float32 and np.count_nonzero(first)


def test_the_best_share_is_decided_over_all_shards(inputs, tmp_path):
    step, _ = prepared(inputs, tmp_path / "work", top_share=0.25)
    shards = [
        [Row(f"{k}{i}", text=text) for i, text in enumerate(texts)]
        for k, texts in enumerate([pieces(LAW, 10, 5), pieces(VERSE, 30, 6)])
    ]
    looks = [step.look(rows) for rows in shards]
    out = [list(step.apply(rows, verdict)) for rows, verdict in zip(shards, step.decide(looks))]
    assert [sum(not row.reason for row in rows) for rows in out] == [10, 0]
    assert list(step.decide([])) == []


def test_in_the_room(inputs, tmp_path):
    source = artifact(tmp_path / "source", pieces(LAW, 12, 7) + pieces(VERSE, 12, 8))
    for name, options in (("threshold", {}), ("share", {"top_share": 0.5})):
        out = tmp_path / name
        out.mkdir()
        steps = [{"step": "classifier", "bits": 14, **options}]
        run(Collect(steps=steps), {"sources.0": source, **inputs}, out, silent)
        kept = [row for split in ("train", "heldout") for row in read_rows(out, split)]
        assert len(kept) == 12
        assert {row.reason.partition(":")[0] for row in read_rows(out, "rejected")} == {"unlike the good examples"}


def test_too_few_examples(inputs, tmp_path):
    with pytest.raises(HanlinError, match="0 texts in bad_examples"):
        prepared({"good_examples.0": inputs["good_examples.0"]}, tmp_path / "work")


@given(st.lists(st.tuples(st.integers(0, 4), st.booleans()), min_size=2, max_size=30))
def test_area_under_the_curve_by_counting(pairs):
    good = [score for score, is_good in pairs if is_good]
    bad = [score for score, is_good in pairs if not is_good]
    if good and bad:
        wins = sum((g > b) + 0.5 * (g == b) for g in good for b in bad)
        found = area_under_curve([float(s) for s, _ in pairs], [g for _, g in pairs])
        assert found == pytest.approx(wins / len(good) / len(bad))


def test_one_step_of_adagrad_by_hand():
    one = features("甲", (1,), 8, 100)
    weights = train([one, features("乙", (1,), 8, 100)], [True, False], 8, 1, 0)
    place = int(one[0][0])
    assert one[1].tolist() == [1.0, 1.0] and one[0][1] == 256
    # The first gradient is ±0.5 · 1, so the first step is the rate itself; the second follows a bias that has moved.
    assert abs(weights[place]) == pytest.approx(0.5, abs=1e-6)


@given(st.text(st.characters(), max_size=50))
def test_any_text_has_features_of_length_one(text):
    buckets, values = features(text, (1, 2), 10, 40)
    assert len(buckets) == len(values) and (np.diff(buckets) > 0).all()
    if len(values) > 1:
        assert float(values[:-1] @ values[:-1]) == pytest.approx(1)
