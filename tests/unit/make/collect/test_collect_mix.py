"""Shares of the sources, and the order of rows for training."""

from __future__ import annotations

import json
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from hanlin.core.run.artifact import Artifact
from hanlin.core.run.errors import HanlinError
from hanlin.core.run.events import silent
from hanlin.core.run.sources import fetch
from hanlin.core.text.documents import read_rows
from hanlin.core.text.tokenizer import load_tokenizer
from hanlin.make.collect.config import Collect
from hanlin.make.collect.mix import Mix, copies, portions, unused_names
from hanlin.make.collect.pipeline import shards
from hanlin.make.collect.run import run

sizes_of = st.lists(st.integers(1, 10**9), min_size=1, max_size=6)


@pytest.fixture
def sources(tmp_path):
    """Three sources of 300, 60 and 30 rows; every row has its own length."""
    paths = []
    for name, count in (("law", 300), ("poems", 60), ("words", 30)):
        path = tmp_path / f"{name}.jsonl"
        lines = [json.dumps({"text": f"{name} {number} " + "字" * (20 + number)}) for number in range(count)]
        path.write_text("\n".join(lines), encoding="utf-8")
        paths.append(path)
    return paths


def collect_into(out, sources, inputs=None, **options):
    out.mkdir()
    inputs = {f"sources.{number}": fetch(str(path), silent) for number, path in enumerate(sources)} | (inputs or {})
    run(Collect(**options), inputs, out, silent)
    return out


def collect(out, sources, **options):
    return list(read_rows(collect_into(out, sources, **options), "train"))


def names(rows):
    return Counter(row.text.split()[0] for row in rows)


@given(sizes_of, st.floats(1, 20))
def test_a_temperature_lifts_small_sources(sizes, temperature):
    found = portions([str(n) for n in range(len(sizes))], sizes, Mix(temperature=temperature, most_epochs=100))
    assert sum(p.share for p in found) == pytest.approx(1, abs=1e-4)
    expected = [size ** (1 / temperature) for size in sizes]
    for portion, wanted in zip(found, expected):
        assert portion.share == pytest.approx(wanted / sum(expected), abs=1e-4)
    assert all(portion.epochs <= 100 for portion in found)


@given(sizes_of, st.data())
def test_weights_are_shares_and_no_source_is_read_too_often(sizes, data):
    weights = data.draw(st.lists(st.floats(0.01, 10), min_size=len(sizes), max_size=len(sizes)))
    found = portions([""] * len(sizes), sizes, Mix(weights=weights, most_epochs=2))
    for portion, weight in zip(found, weights):
        assert portion.epochs <= 2 + 1e-6
        assert portion.share == pytest.approx(weight / sum(weights), abs=1e-3)


def test_sources_are_called_by_the_last_part_of_their_addresses():
    names = ["runs/x/law", "file:poems.jsonl"]
    assert portions(names, [10, 10], Mix(weights={"law": 1, "file:poems.jsonl": 1})) == portions(
        names, [10, 10], Mix(weights=(1, 1))
    )
    assert [portion.epochs for portion in portions(names, [10, 10], Mix(epochs={"law": 3}))] == [3, 1]
    assert unused_names(names, Mix(epochs={"law": 3, "words": 1})) == ["words"]
    with pytest.raises(HanlinError, match="numbers for law, but the 2 sources are law"):
        portions(names, [10, 10], Mix(weights={"law": 1}))


def test_a_total_is_kept():
    found = portions(["a", "b"], [1000, 1000], Mix(weights=(3, 1), total=800))
    assert [portion.epochs for portion in found] == [0.6, 0.2]


@given(st.floats(0, 5), st.integers(0, 9))
def test_copies_are_epochs_on_average(epochs, seed):
    counts = [copies(str(number), epochs, seed) for number in range(400)]
    assert set(counts) <= {int(epochs), int(epochs) + 1}
    assert sum(counts) / 400 == pytest.approx(epochs, abs=0.15)


def test_epochs_of_sources(tmp_path, sources):
    whole = names(read_rows(collect_into(tmp_path / "whole", sources, heldout_share=0.1), "heldout"))
    rows = collect(tmp_path / "out", sources, heldout_share=0.1, mix={"epochs": (0.5, 1, 2)})
    found = names(rows)
    heldout = names(read_rows(tmp_path / "out", "heldout"))
    assert heldout["poems"] == whole["poems"] > 0 and heldout["words"] == whole["words"] > 0
    assert found["poems"] == 60 - heldout["poems"] and found["words"] == 2 * (30 - heldout["words"])
    assert 110 < found["law"] < 165 and 0 < heldout["law"] < whole["law"]
    assert len({row.id for row in rows}) == len(rows)
    left = Counter(row.reason for row in read_rows(tmp_path / "out", "rejected"))
    assert left == {"left out by the mix: 0.5 epochs": 300 - heldout["law"] - found["law"]}
    report = json.loads((tmp_path / "out" / "report.json").read_text(encoding="utf-8"))
    assert [portion["epochs"] for portion in report["mix"]] == [0.5, 1, 2]


def test_a_tokenizer_counts(tmp_path, sources, tiny_tokenizer):
    """With one, sizes are tokens; the corpus is that without one."""
    (tmp_path / "tokenizer").mkdir()
    tiny_tokenizer.save(tmp_path / "tokenizer")
    tokenizer = Artifact(tmp_path / "tokenizer", "tokenizer", "t")
    rows = collect(tmp_path / "out", sources, inputs={"tokenizer": tokenizer})
    assert rows == collect(tmp_path / "plain", sources)
    mix = json.loads((tmp_path / "out" / "report.json").read_text(encoding="utf-8"))["mix"]
    count = load_tokenizer(tmp_path / "tokenizer").encode
    assert sum(portion["size"] for portion in mix) == sum(len(count(row.text)) for row in rows)
    assert all(portion["unit"] == "tokens" and portion["epochs"] == 1 for portion in mix)


@pytest.mark.parametrize("order", ["shuffled", "short_first"])
def test_an_order_holds_over_all_files(tmp_path, sources, order, monkeypatch):
    monkeypatch.setattr(shards, "SHARD_CHARS", 4000)
    as_read = collect(tmp_path / "read", sources)
    rows = collect(tmp_path / "out", sources, mix={"order": order})
    assert sorted(row.id for row in rows) == sorted(row.id for row in as_read) != [row.id for row in rows]
    assert len(list((tmp_path / "out").glob("train-*.parquet"))) > 5
    assert not list((tmp_path / "out").glob("run-*"))
    if order == "short_first":
        assert [row.characters for row in rows] == sorted(row.characters for row in as_read)
    else:
        first = names(rows[:100])
        assert first["poems"] > 5 and first["words"] > 1
    assert [row.id for row in collect(tmp_path / "again", sources, mix={"order": order}, engine="one")] == [
        row.id for row in rows
    ]


def test_easy_first_needs_what_measures_it(tmp_path, sources):
    with pytest.raises(HanlinError, match="has no bits per character"):
        collect(tmp_path / "out", sources, mix={"order": "easy_first"})


def test_one_number_for_each_source(tmp_path, sources):
    with pytest.raises(HanlinError, match="2 numbers, but the 3 sources"):
        collect(tmp_path / "out", sources, mix={"weights": (1, 2)})
    with pytest.raises(ValidationError, match="three ways to say the same"):
        Mix(weights=(1, 2), temperature=2)
