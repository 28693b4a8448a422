"""Exact and near duplicates, repeated lines and spans, evaluation sets: against brute force where it can be counted."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from samples import assistant, user

from hanlin.core.run.errors import HanlinError
from hanlin.core.run.events import silent
from hanlin.core.run.sources import fetch
from hanlin.core.text.documents import Row, read_rows, write_rows
from hanlin.make.collect.config import Collect
from hanlin.make.collect.run import run
from hanlin.make.collect.steps import decontaminate, exact, lines, near, spans
from hanlin.make.collect.steps.matching import minhash, units
from hanlin.make.collect.steps.matching.tally import tally
from hanlin.make.collect.steps.step import Context

ALONE = Context({}, Path("nowhere"))
ALPHABET = "天地玄黃宇宙洪荒日月盈昃辰宿列張寒來暑往秋收冬藏閏餘成歲律呂調陽"
texts = st.text(st.sampled_from("天地玄黃aB1，。 \n"), max_size=40)


def chinese(chance: random.Random, length: int) -> str:
    return "".join(chance.choices(ALPHABET, k=length))


def surveyed(survey, *shards):
    """The rows of all shards after the survey."""
    verdicts = survey.decide([survey.look(list(rows)) for rows in shards])
    return [row for rows, verdict in zip(shards, verdicts, strict=True) for row in survey.apply(list(rows), verdict)]


def context(tmp_path, **inputs):
    """A step's surroundings, with files as its inputs."""
    artifacts = {}
    for name, content in inputs.items():
        path = tmp_path / f"{name}.jsonl"
        path.write_text("\n".join(json.dumps(row, ensure_ascii=False) for row in content), encoding="utf-8")
        artifacts[f"{name}.0"] = fetch(str(path), silent)
    work = tmp_path / "work"
    work.mkdir(exist_ok=True)
    return Context(artifacts, work)


# Units and their hashes.


def test_what_makes_no_difference():
    same = ["Ｈｅｌｌｏ，世界！", "hello\n世 界", "HELLO 世界"]
    for found in (units.characters(same), units.words(same)):
        codes = [found.codes[a:b].tolist() for a, b in zip(found.offsets, found.offsets[1:])]
        assert codes[0] == codes[1] == codes[2]


@given(st.lists(texts, max_size=6))
def test_units_know_their_places(rows):
    for found in (units.characters(rows), units.words(rows)):
        begins, ends = found.begins, found.ends
        for number, text in enumerate(rows):
            here = range(found.offsets[number], found.offsets[number + 1])
            pieces = [text[begins[i] : ends[i]] for i in here]
            assert "".join(pieces).lower() == "".join(c for c in text if c.isalnum()).lower()
    assert units.words(["The quick，棕色 fox2"]).counts.tolist() == [5]


@given(st.lists(texts, max_size=5), st.integers(1, 9))
def test_ngrams_are_those_of_each_text(rows, n):
    hashes, offsets = units.ngrams(units.characters(rows), n)
    for number, text in enumerate(rows):
        codes = units.characters([text]).codes.tolist()
        padded = codes + [0] * (n - len(codes)) if codes else []
        sums = []
        for i in range(len(padded) - n + 1):
            total = 0
            for code in padded[i : i + n]:
                total = (total * units.BASE + code) % 2**64
            sums.append(total)
        expected = units.mixed(np.array(sums, np.uint64)).tolist()
        assert hashes[offsets[number] : offsets[number + 1]].tolist() == expected


@given(st.lists(texts, min_size=1, max_size=8))
def test_whole_texts_have_one_hash_if_and_only_if_they_read_the_same(rows):
    hashes = units.whole(units.characters(rows)).tolist()
    folded = ["".join(c for c in text if c.isalnum()).lower() for text in rows]
    assert [[a == b for b in hashes] for a in hashes] == [[a == b for b in folded] for a in folded]


@given(st.lists(st.lists(st.integers(0, 5), max_size=8), max_size=5), st.integers(1, 20))
def test_tally_counts_in_any_number_of_passes(looks, pass_hashes):
    spread = [np.array([units.mixed(np.array([v], np.uint64))[0] for v in look], np.uint64) for look in looks]
    counts, first = tally([{"hash": look} for look in spread], "hash", pass_hashes)
    every = [value for look in looks for value in look]
    assert counts.tolist() == [every.count(value) for value in every]
    assert first.tolist() == [value not in every[:i] for i, value in enumerate(every)]


def test_a_changed_row_is_a_replaced_row():
    row = Row("1", text="甲", messages=(user("問"),), year=2020, notes={"near": 1})
    assert row.changed() == row and row.changed(text="乙", reason="r") == replace(row, text="乙", reason="r")
    with pytest.raises(KeyError):
        row.changed(txet="乙")


# Signatures.


@pytest.mark.parametrize("size", [20, 400])
@pytest.mark.parametrize("share", [0.5, 0.9])
def test_signatures_estimate_jaccard_without_bias(size, share):
    """The mean of 400 pairs is within four deviations of the truth, and bands find what the formula says."""
    chance = np.random.default_rng(size)
    common = round(2 * size * share / (1 + share))
    truth = common / (2 * size - common)
    pools = chance.integers(0, 2**64, (400, 2 * size - common), dtype=np.uint64)
    hashes = np.concatenate([np.concatenate([pool[:size], pool[size - common :]]) for pool in pools])
    found = minhash.signatures(hashes, np.arange(0, len(hashes) + 1, size), 128, seed=0)
    a, b = np.arange(0, 800, 2), np.arange(1, 800, 2)
    deviation = np.sqrt(truth * (1 - truth) / 128 / 400)
    assert abs(minhash.estimate(found, a, b).mean() - truth) < 4 * deviation
    together = (found[a] == found[b]).reshape(400, 16, 8).all(axis=2).any(axis=1).mean()
    expected = minhash.found_share(truth, 16, 8)
    assert abs(together - expected) < 4 * np.sqrt(expected * (1 - expected) / 400) + 0.01


def test_signatures_are_the_same_in_another_process():
    code = (
        "import numpy as np; from hanlin.make.collect.steps.matching import minhash, units;"
        "h, o = units.ngrams(units.characters(['天地玄黃宇宙洪荒', 'a']), 5);"
        "print(minhash.signatures(h, o, 16, 7).tolist())"
    )
    hashes, offsets = units.ngrams(units.characters(["天地玄黃宇宙洪荒", "a"]), 5)
    here = minhash.signatures(hashes, offsets, 16, 7)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == here.tolist()
    assert here[0].tolist() != minhash.signatures(hashes, offsets, 16, 8)[0].tolist()


def test_bands_find_a_pair_at_the_threshold():
    for threshold in (0.5, 0.7, 0.8, 0.9):
        bands, rows = minhash.bands_for(threshold, 128)
        assert bands * rows <= 128 and minhash.found_share(threshold, bands, rows) >= minhash.SURE
        assert minhash.found_share(threshold, 128 // (rows + 1), rows + 1) < minhash.SURE
    assert round((1 / 14) ** (1 / 8), 2) == 0.72


@given(st.lists(st.tuples(st.integers(0, 19), st.integers(0, 19)), max_size=30))
def test_union_find_over_arrays(pairs):
    parents = np.arange(20)
    minhash.unite(parents, *np.array(pairs, np.int64).reshape(-1, 2).T)
    groups = [{i} for i in range(20)]
    for a, b in pairs:
        merged = groups[a] | groups[b]
        for i in merged:
            groups[i] = merged
    assert parents.tolist() == [min(group) for group in groups]


# Near duplicates.


def near_corpus(seed=0):
    """40 rows of 200 characters, and for each one with some characters exchanged; shuffled, in three shards."""
    chance = random.Random(seed)
    rows = []
    for number in range(40):
        text = chinese(chance, 200)
        other = list(text)
        for place in chance.sample(range(200), number // 4):
            other[place] = "變"
        rows += [Row(f"a{number}", text=text), Row(f"b{number}", text="".join(other))]
    chance.shuffle(rows)
    return [rows[:30], rows[30:30], rows[30:]]


def jaccard(a: str, b: str, n: int = 5) -> float:
    first, second = ({t[i : i + n] for i in range(len(t) - n + 1)} for t in (a, b))
    return len(first & second) / len(first | second)


def test_near_with_exact_verification_is_brute_force():
    shards = near_corpus()
    rows = [row for shard in shards for row in shard]
    done = surveyed(near.make(near.Near(verify="exact", threshold=0.8, bands=64), ALONE), *shards)
    by_id = {row.id: row for row in rows}
    expected = {f"b{n}" for n in range(40) if jaccard(by_id[f"a{n}"].text, by_id[f"b{n}"].text) >= 0.8}
    assert 10 < len(expected) < 30
    assert {row.id.replace("a", "b") for row in done if row.reason} == expected
    for row in done:
        if row.reason:
            kept, _, similarity = row.reason.removeprefix("near duplicate: ").partition(" ")
            assert kept[1:] == row.id[1:] and kept != row.id
            assert abs(float(similarity.strip("()")) - jaccard(by_id[kept].text, row.text)) < 0.15
    assert [row.id for row in done] == [row.id for row in rows]


def test_near_by_estimate_finds_almost_the_same_and_keeps_clusters():
    shards = near_corpus()
    by_id = {row.id: row for shard in shards for row in shard}
    done = surveyed(near.make(near.Near(threshold=0.7), ALONE), *shards)
    dropped = {row.id[1:] for row in done if row.reason}
    similarity = {str(n): jaccard(by_id[f"a{n}"].text, by_id[f"b{n}"].text) for n in range(40)}
    assert {n for n, s in similarity.items() if s > 0.82} <= dropped <= {n for n, s in similarity.items() if s > 0.58}
    notes = {row.id: row.notes.get("near") for row in done}
    for number in dropped:
        a, b = notes[f"a{number}"], notes[f"b{number}"]
        assert (
            a["cluster"] == b["cluster"] and a["size"] == b["size"] == 2 and ("similarity" in a) != ("similarity" in b)
        )
    assert all(notes[f"a{n}"] is None for n in similarity if n not in dropped)


def test_near_keeps_the_longest_if_asked():
    chance = random.Random(1)
    text = chinese(chance, 100)
    rows = [Row("1", text=text), Row("2", text=text + "末尾多了幾字"), Row("3", text=chinese(chance, 100))]
    for keep, dropped in (("first", "2"), ("longest", "1")):
        done = surveyed(near.make(near.Near(keep=keep), ALONE), rows[:1], rows[1:])
        assert [row.id for row in done if row.reason] == [dropped]


def test_short_and_empty_rows_and_all_kinds_of_rows():
    rows = [
        Row("1", text="天地"),
        Row("2", text="天 地！"),
        Row("3", text="天黃"),
        Row("4", text="！？…"),
        Row("5", text="，。"),
        Row("6", messages=(user("天地玄黃宇宙洪荒"), assistant("日月盈昃辰宿列張"))),
        Row("7", messages=(user("天地玄黃，宇宙洪荒"), assistant("日月盈昃，辰宿列張。"))),
        Row("8", messages=(user("秋收冬藏閏餘成歲"),), chosen=(assistant("律呂"),), rejected=(assistant("調陽"),)),
    ]
    done = surveyed(near.make(near.Near(), ALONE), rows, [])
    assert {row.id: row.reason for row in done if row.reason} == {
        "2": "near duplicate: 1 (1.00)",
        "7": "near duplicate: 6 (1.00)",
    }
    assert surveyed(near.make(near.Near(), ALONE), []) == []
    assert surveyed(near.make(near.Near(), ALONE)) == []


def test_near_of_words():
    text = "the quick brown fox jumps over the lazy dog and runs away from all the others in the wood today"
    rows = [Row("1", text=text), Row("2", text=text.replace(" ", "\n").upper() + "!"), Row("3", text=text[::-1])]
    done = surveyed(near.make(near.Near(of="words", ngram=3), ALONE), rows)
    assert [row.reason for row in done] == ["", "near duplicate: 1 (1.00)", ""]


def test_many_rows_that_are_the_same_are_one_cluster():
    rows = [Row(str(number), text="天地玄黃宇宙洪荒日月盈昃" + "。" * (number % 3)) for number in range(500)]
    done = surveyed(near.make(near.Near(), ALONE), rows[:200], rows[200:])
    assert sum(not row.reason for row in done) == 1 and done[0].notes["near"] == {"cluster": 0, "size": 500}


def test_near_and_exact_against_another_corpus(tmp_path):
    chance = random.Random(3)
    known, fresh = chinese(chance, 120), chinese(chance, 120)
    surroundings = context(tmp_path, against=[{"text": known}, {"text": chinese(chance, 90)}])
    rows = [Row("1", text=fresh), Row("2", text=known[:119] + "變"), Row("3", text=known), Row("4", text=fresh)]
    options = near.Near(keep="longest")
    near.prepare(options, surroundings, silent)
    done = surveyed(near.make(options, surroundings), rows[:2], rows[2:])
    reasons = [row.reason for row in done]
    assert reasons[0] == "" and reasons[3] == "near duplicate: 1 (1.00)"
    assert all(reason.startswith("near duplicate: against/against.jsonl:1 (") for reason in reasons[1:3])
    exact.prepare(exact.Exact(), surroundings, silent)
    done = surveyed(exact.make(exact.Exact(), surroundings), rows[:2], rows[2:])
    assert [row.reason for row in done] == ["", "", "duplicate: against/against.jsonl:1", "duplicate: 1"]


def test_a_corpus_is_compared_with_as_well(tmp_path):
    folder = tmp_path / "old"
    folder.mkdir()
    write_rows(folder / "train.parquet", [Row("x", text="這份文件在舊的語料裡也有。")])
    write_rows(folder / "heldout.parquet", [])
    write_rows(folder / "rejected.parquet", [Row("y", text="這份文件早就被拒絕了，不算。", reason="empty")])
    (tmp_path / "new.txt").write_text("這份文件在舊的語料裡也有。", encoding="utf-8")
    (tmp_path / "other.txt").write_text("這份文件早就被拒絕了，不算。", encoding="utf-8")
    old = replace(fetch(str(folder), silent), kind="corpus")
    inputs = {
        "sources.0": fetch(str(tmp_path / "new.txt"), silent),
        "sources.1": fetch(str(tmp_path / "other.txt"), silent),
    }
    out = tmp_path / "out"
    out.mkdir()
    run(Collect(steps=("exact", "near"), heldout_share=0), inputs | {"against.0": old}, out, silent)
    assert {row.id: row.reason for split in ("train", "rejected") for row in read_rows(out, split)} == {
        "new.txt": "duplicate: against/x",
        "1/other.txt": "",
    }


def test_options_that_can_not_be():
    for wrong in (lambda: near.Near(num_perm=64, bands=65), lambda: spans.Spans(least_chars=20, sample=11)):
        with pytest.raises(ValidationError):
            wrong()


# Lines.

NOTICE = "本文僅供參考，請以主管機關公告之正式版本為準"


def line_rows():
    chance = random.Random(5)
    return [
        Row(str(n), text=f"{chinese(chance, 40)}\n{NOTICE}{'。' * (n % 2)}\n{chinese(chance, 30)}") for n in range(6)
    ]


def test_lines_that_many_rows_have_go_and_the_row_stays():
    rows = line_rows()
    done = surveyed(lines.make(lines.Lines(rows=3), ALONE), rows[:2], rows[2:])
    assert done[0].text == rows[0].text and done[0].notes["lines"] == {"repeated": 1, "removed": 0}
    for row, old in zip(done[1:], rows[1:]):
        first, _, last = old.text.split("\n")
        assert row.text == f"{first}\n{last}" and row.notes["lines"] == {"repeated": 1, "removed": 1}
    every = surveyed(lines.make(lines.Lines(rows=3, keep_first=False), ALONE), rows)
    assert all(NOTICE not in row.text for row in every)
    for options in (lines.Lines(rows=6), lines.Lines(rows=3, least_chars=30)):
        assert surveyed(lines.make(options, ALONE), rows) == rows
    counted = surveyed(lines.make(lines.Lines(rows=3, do="count"), ALONE), rows)
    assert [row.text for row in counted] == [row.text for row in rows] and counted[3].notes["lines"]["repeated"] == 1


def test_a_row_of_repeated_lines_is_dropped():
    rows = [
        *line_rows(),
        Row("menu", text=f"{NOTICE}\n{NOTICE}\n短的"),
        Row("chat", messages=(user("問"), assistant(NOTICE))),
    ]
    done = {row.id: row for row in surveyed(lines.make(lines.Lines(), ALONE), rows)}
    assert done["menu"].reason == "repeated lines: 92% of its characters" and done["menu"].text.startswith(NOTICE)
    assert done["chat"].reason.startswith("repeated lines: ")
    assert done["1"].reason == ""


@given(
    st.lists(st.lists(st.sampled_from(["甲" * 15, "乙" * 16, "丙" * 20, "短"]), max_size=4), max_size=7),
    st.integers(1, 3),
)
@settings(max_examples=60)
def test_lines_against_brute_force(documents, limit):
    rows = [Row(str(n), text="\n".join(document)) for n, document in enumerate(documents)]
    options = lines.Lines(rows=limit, max_share=1)
    done = surveyed(lines.make(options, ALONE), rows[: len(rows) // 2], rows[len(rows) // 2 :])
    seen: set[str] = set()
    for row, document in zip(done, documents):
        often = {line for line in document if len(line) >= 15 and sum(line in other for other in documents) > limit}
        left = [line for line in document if line not in often & seen]
        if left or not document:
            assert (row.reason, row.text) == ("", "\n".join(left))
        else:
            assert row.reason == "repeated lines: 100% of its characters" or row.reason.startswith("repeated lines: 9")
        seen |= often


# Spans.


@st.composite
def span_documents(draw):
    """Documents put together from a few passages, so that much is repeated, in places and lengths of all kinds."""
    chance = random.Random(draw(st.integers(0, 10**6)))
    pool = [chinese(chance, chance.randint(5, 40)) for _ in range(4)]
    documents = []
    for _ in range(draw(st.integers(1, 5))):
        parts = [
            chance.choice(pool)[chance.randint(0, 8) :] if chance.random() < 0.6 else chinese(chance, 12)
            for _ in range(3)
        ]
        documents.append("".join(parts))
    return documents


@given(span_documents(), st.sampled_from([1, 2, 4, 7]))
@settings(max_examples=80)
def test_every_repeated_span_is_found_and_nothing_shorter_is_cut(documents, sample):
    length = 14
    survey = spans.make(spans.Spans(least_chars=length, sample=sample), ALONE)
    rows = [Row(str(n), text=text) for n, text in enumerate(documents)]
    looks = [survey.look(rows[:1]), survey.look(rows[1:])]
    again = [verdict["again"] for verdict in survey.decide(looks)]
    cut: dict[tuple[int, int], bool] = {}
    for shard, flags, first in ((rows[:1], again[0], 0), (rows[1:], again[1], 1)):
        found = units.characters([row.text for row in shard])
        for text, here in survey._in_texts(found, survey._selected(found)[1][flags]).items():
            cut |= {(first + text, i): True for begin, end in here for i in range(begin, end)}
    every = [(d, i) for d, text in enumerate(documents) for i in range(len(text))]
    k = length - sample + 1
    seen_long: set[str] = set()
    seen_k: set[str] = set()
    covered: set[tuple[int, int]] = set()
    for d, i in every:
        long, short = documents[d][i : i + length], documents[d][i : i + k]
        if len(long) == length and long in seen_long:
            inside = [(d, i + j) in cut for j in range(length)]
            assert "1" * k in "".join(map(str, map(int, inside))), "a repeated span was not found"
        if len(short) == k and short in seen_k:
            covered |= {(d, i + j) for j in range(k)}
        seen_long.add(long)
        seen_k.add(short)
    assert set(cut) <= covered, "something was cut that is not repeated"
    if sample == 1:
        assert set(cut) == covered


@given(st.lists(st.lists(st.integers(0, 6), max_size=17), max_size=6), st.integers(1, 10))
def test_winnowing_selects_the_last_smallest_of_every_window(texts_hashes, sample):
    expected, begin = set(), 0
    for hashes in texts_hashes:
        for i in range(max(1, len(hashes) - sample + 1) if hashes else 0):
            window = range(i, min(i + sample, len(hashes)))
            smallest = min(hashes[j] for j in window)
            expected.add(begin + max(j for j in window if hashes[j] == smallest))
        begin += len(hashes)
    flat = np.array([value for hashes in texts_hashes for value in hashes], np.uint64)
    counts = np.array(list(map(len, texts_hashes)), np.int64)
    assert spans.winnow(flat, counts, sample).tolist() == sorted(expected)


def test_spans_are_cut_from_texts_and_messages():
    chance = random.Random(9)
    quoted, a, b, c = (chinese(chance, n) for n in (80, 60, 60, 200))
    rows = [
        Row("1", text=f"{a}「{quoted}」"),
        Row("2", text=f"{b}\n{quoted[:40]}\n{quoted[40:]}。{b[::-1]}"),
        Row("3", messages=(user("問題"), assistant(f"{quoted}{c}"))),
        Row("4", text=quoted),
    ]
    done = surveyed(spans.make(spans.Spans(least_chars=40, sample=1), ALONE), rows[:1], rows[1:])
    assert done[0] == rows[0]
    assert done[1].text == f"{b}\n。{b[::-1]}" and 0.3 < done[1].notes["spans"] < 0.5
    assert done[2].messages == (user("問題"), assistant(c))
    assert done[3].reason == "repeated spans: 100% of its characters"


# Evaluation sets.

QUESTION = "依據憲法增修條文第五條之規定，司法院大法官由總統提名並經立法院同意任命，任期八年，不得連任。"
ENGLISH = "Which of the following rivers is the longest one on the island and where does it reach the sea"


def decontaminated(tmp_path, rows, items, **options):
    surroundings = context(tmp_path, evaluation=items)
    chosen = decontaminate.Decontaminate(**options)
    decontaminate.prepare(chosen, surroundings, silent)
    return list(decontaminate.make(chosen, surroundings)(rows))


def test_rows_that_hold_an_item_are_dropped_with_item_and_text(tmp_path):
    rows = [
        Row("1", text=f"考古題：{QUESTION[:24]}……"),
        Row("2", text="依據憲法增修條文第五條之規定，另有不同的說法。"),
        Row("3", text=f"Quiz! {ENGLISH.upper()}?"),
        Row("4", text=" ".join(ENGLISH.split()[:12]) + " mountains"),
        Row("5", messages=(user("問"), assistant(QUESTION.replace("，", " , ")))),
    ]
    done = decontaminated(tmp_path, rows, [{"text": QUESTION}, {"text": ENGLISH}, {"text": "太短"}])
    assert [bool(row.reason) for row in done] == [True, False, True, False, True]
    assert done[0].reason == f"in the evaluation set: evaluation.jsonl:1 “{QUESTION[:24]}”"
    assert done[0].notes["decontaminate"] == {f"evaluation.jsonl:1: {QUESTION[:24]}": 1}
    assert done[2].reason.startswith("in the evaluation set: evaluation.jsonl:2 “WHICH OF")
    assert done[1] == rows[1] and done[3] == rows[3]


def test_what_is_shared_can_be_cut_out(tmp_path):
    rows = [Row("1", text=f"前文在此。{QUESTION}後文在此。"), Row("2", text=QUESTION)]
    done = decontaminated(tmp_path, rows, [{"text": QUESTION}], do="cut")
    assert done[0].text == "前文在此。。後文在此。" and done[0].reason == "" and done[0].notes["decontaminate"]
    assert done[1].reason.startswith("in the evaluation set") and done[1].text == QUESTION
    wide = decontaminated(tmp_path, rows[:1], [{"text": QUESTION}], do="cut", around=3)
    assert wide[0].text == "前文在此。"


def test_short_items_are_looked_for_as_a_whole_and_shorter_ones_not(tmp_path):
    item, tiny = "臺灣最長的河流是哪一條河", "玉山在哪"
    notes = []
    surroundings = context(tmp_path, evaluation=[{"text": item}, {"text": tiny}])
    options = decontaminate.Decontaminate()
    decontaminate.prepare(options, surroundings, lambda kind, **fields: notes.append(fields.get("text", "")))
    rows = [Row("1", text=f"請問{item}？"), Row("2", text=item[:-1] + "溪"), Row("3", text=tiny)]
    done = list(decontaminate.make(options, surroundings)(rows))
    assert [bool(row.reason) for row in done] == [True, False, False]
    assert any("1 of 2 items" in note for note in notes)


def test_without_an_evaluation_set_there_is_nothing_to_do(tmp_path):
    with pytest.raises(HanlinError, match="nothing to compare with"):
        decontaminate.prepare(decontaminate.Decontaminate(), context(tmp_path), silent)


@given(st.lists(texts, min_size=1, max_size=4), st.lists(texts, min_size=1, max_size=4))
@settings(max_examples=30, deadline=None)
def test_decontamination_against_brute_force(tmp_path_factory, rows, items):
    n = 4
    done = decontaminated(
        tmp_path_factory.mktemp("d"),
        [Row(str(i), text=text) for i, text in enumerate(rows)],
        [{"text": item} for item in items] + [{"text": "無關的一題在這裡"}],
        words=n,
        characters=n,
        least_words=n,
        least_characters=n,
    )

    def grams(text):
        found = units.words([text])
        pieces = [text[a:b].lower() for a, b in zip(found.begins, found.ends)]
        return {tuple(pieces[i : i + n]) for i in range(len(pieces) - n + 1)}

    known = set().union(*map(grams, items))
    assert [bool(row.reason) for row in done] == [bool(grams(text) & known) for text in rows]


# The whole way.


def test_all_steps_on_a_pool_equal_one_process(tmp_path):
    chance = random.Random(11)
    base = [chinese(chance, 150) for _ in range(60)]
    rows = [{"text": f"{text}\n{NOTICE}"} for text in base]
    rows += [{"text": text[:140] + "變" + text[141:]} for text in base[:20]]
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    (tmp_path / "exam.jsonl").write_text(json.dumps({"text": base[50][:60]}), encoding="utf-8")
    inputs = {"sources.0": fetch(str(tmp_path / "rows.jsonl"), silent)}
    inputs["evaluation.0"] = fetch(str(tmp_path / "exam.jsonl"), silent)
    steps = ("exact", "lines", "near", "spans", "decontaminate")
    results = []
    for engine in ("one", "pool"):
        out = tmp_path / engine
        out.mkdir()
        run(Collect(steps=steps, engine=engine, workers=2), inputs, out, silent)
        results.append([list(read_rows(out, split)) for split in ("train", "heldout", "rejected")])
    assert results[0] == results[1]
    reasons = [row.reason.partition(":")[0] for row in results[0][2]]
    assert reasons.count("in the evaluation set") == 1 and reasons.count("near duplicate") == 20
    assert sum(NOTICE in row.text for split in results[0][:2] for row in split) == 1
