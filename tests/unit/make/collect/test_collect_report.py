"""The corpus's report: counts that add up whatever the files and their order, and a page that no row can break."""

from __future__ import annotations

import json
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from samples import assistant, system, user

from hanlin.core.text.documents import KEPT, Row, write_rows
from hanlin.core.text.script import count_script, script_of
from hanlin.make.collect.pipeline.stages import Count
from hanlin.make.collect.reading.walk import Source
from hanlin.make.collect.report import as_html, as_markdown, findings, metrics_of, summarise
from hanlin.make.collect.report.charts import span_of
from hanlin.make.collect.report.clusters import Clusters
from hanlin.make.collect.report.differences import differences
from hanlin.make.collect.report.findings import Findings, number_figures, table_figures
from hanlin.make.collect.report.samples import EXCERPT_CHARS, Draw, draw_key, excerpt
from hanlin.make.collect.report.tally import LENGTHS, NUM_DROPPED, NUM_KEPT

HOSTILE = "\"'><script>alert(1)</script><img src=x onerror=alert(2)></style></textarea><!--&lt;"


def corpus(folder: Path, train: list[Row], heldout: list[Row] = [], rejected: list[Row] = [], files: int = 1) -> Path:  # noqa: B006
    """A corpus folder with its training rows in so many files."""
    folder.mkdir(parents=True)
    for number in range(files):
        name = f"train-{number:05d}" if files > 1 else "train"
        start, end = (len(train) * place // files for place in (number, number + 1))
        write_rows(folder / f"{name}.parquet", train[start:end])
    write_rows(folder / "heldout.parquet", heldout)
    write_rows(folder / "rejected.parquet", rejected)
    return folder


def report_of(folder: Path, mapping=map, seed: int = 0, sources: list[Source] = [], counts: list[Count] = []) -> dict:  # noqa: B006
    steps = [Count("read"), *map(Count, ("score", "tags"))]
    return summarise(folder, sources, counts or steps, mapping, seed)


def backwards(function, tasks):
    """An engine that finishes its tasks in another order."""
    return reversed(list(map(function, tasks)))


texts = st.text("臺灣軟體软件 a\n", min_size=1, max_size=60)
notes = st.fixed_dictionaries(
    {},
    optional={
        "wording": st.dictionaries(st.sampled_from(["軟件", "內存"]), st.integers(1, 5), max_size=2),
        "score": st.floats(0, 1, width=32),
        "tags": st.lists(st.sampled_from(["甲", "乙"]), max_size=3),
        "near": st.fixed_dictionaries({"cluster": st.integers(0, 9), "size": st.integers(2, 5)}),
    },
)


@st.composite
def rows(draw, prefix: str, reason: bool = False, most: int = 25) -> list[Row]:
    found = []
    for place in range(draw(st.integers(0, most))):
        text = draw(texts)
        kind = draw(st.sampled_from(["duplicate: a0", "near duplicate: a1 (0.91)", "too short: 3"])) if reason else ""
        found.append(
            Row(
                id=f"{prefix}{place}",
                text=text,
                source="s",
                year=draw(st.sampled_from([None, 1999, 2024])),
                type=draw(st.sampled_from(["甲", "乙"])),
                language=draw(st.sampled_from(["", "zh-TW", "en"])),
                script=script_of(text),
                reason=kind,
                notes=draw(notes),
            )
        )
    return found


@given(train=rows("a"), heldout=rows("b", most=5), rejected=rows("c", reason=True), files=st.integers(1, 4))
@settings(max_examples=25)
def test_counts_add_up_whatever_the_files_and_their_order(tmp_path_factory, train, heldout, rejected, files) -> None:
    base = tmp_path_factory.mktemp("corpora")
    whole = report_of(corpus(base / "one", train, heldout, rejected))
    assert whole == report_of(corpus(base / "many", train, heldout, rejected, files), backwards)
    kept = [*train, *heldout]
    assert {name: counts["rows"] for name, counts in whole["splits"].items()} == {
        "train": len(train),
        "heldout": len(heldout),
    }
    assert metrics_of(whole)["characters"] == sum(row.characters for row in kept)
    script = count_script("".join(row.content for row in kept))
    assert [whole["script"][name] for name in ("traditional", "simplified", "han", "total")] == [
        script.traditional,
        script.simplified,
        script.han,
        script.total,
    ]
    assert whole["dropped"] == dict(
        sorted(
            Counter(row.reason.partition(":")[0] for row in rejected).items(), key=lambda entry: (-entry[1], entry[0])
        )
    )
    assert sum(entry["rows"] for entry in whole["lengths"]) == len(kept)
    assert Counter(row.language for row in kept) == {n: counts["rows"] for n, counts in whole["languages"].items()}
    wording = sum((Counter(row.notes.get("wording", {})) for row in kept), Counter())
    assert whole["found"].get("wording", {"kept": {}})["kept"] == dict(wording)
    scores = [row.notes["score"] for row in kept if "score" in row.notes]
    if scores:
        figures = whole["measured"]["score"]
        assert figures["kept"]["rows"] == len(scores) == sum(figures["kept_bins"])
        assert figures["kept"]["mean"] == pytest.approx(sum(scores) / len(scores), rel=1e-4, abs=1e-6)
    json.dumps(whole, allow_nan=False)
    assert as_html(whole) and as_markdown(whole)


def test_many_files_are_counted_in_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    train = [Row(id=f"{n}", text="玉山" * (n + 1), notes={"score": n / 30}) for n in range(30)]
    folder = corpus(tmp_path / "corpus", train, files=11)
    whole = report_of(folder)
    monkeypatch.setattr("hanlin.make.collect.report.summary.MOST_TASKS", 3)
    assert report_of(folder, backwards) == whole


@given(ids=st.sets(st.integers(0, 10_000), max_size=60), seed=st.integers(0, 5))
def test_a_draw_is_the_smallest_keys_and_every_row_has_its_chance(ids, seed) -> None:
    keys = {number: draw_key(seed, str(number)) for number in ids}
    draws = [Draw(7), Draw(7)]
    for number, key in keys.items():
        mine = draws[number % 2]
        if mine.wants(key):
            mine.offer(key, number)
        else:
            mine.pass_by()
    draws[0].add(draws[1])
    assert list(draws[0]) == sorted(ids, key=keys.__getitem__)[:7]
    assert draws[0].offered == len(ids)
    assert all(0 <= key < 2**64 for key in keys.values())


def test_another_seed_draws_other_rows(tmp_path: Path) -> None:
    train = [Row(id=f"r{number}", text="玉山") for number in range(200)]
    folder = corpus(
        tmp_path / "corpus", train, rejected=[Row(id=f"x{n}", text="短", reason="too short: 1") for n in range(30)]
    )
    first, same, other = (report_of(folder, seed=seed) for seed in (0, 0, 1))
    ids = [[sample["id"] for sample in report["samples"]] for report in (first, same, other)]
    assert ids[0] == ids[1] != ids[2] and len(set(ids[0])) == NUM_KEPT
    assert len(first["dropped_samples"]["too short"]) == NUM_DROPPED
    assert [sample["reason"] for sample in first["dropped_samples"]["too short"]] == ["too short: 1"] * NUM_DROPPED


def test_what_steps_leave_is_read_for_what_it_is() -> None:
    found = Findings()
    found.note(
        1, {"personal": {"手機": 2, "信箱": 1}, "near": {"cluster": 7, "size": 3, "similarity": 0.9}, "odd": None}
    )
    found.note(
        2, {"personal": {"手機": 1}, "language": "yue", "flag": True, "quality": {"score": 0.5, "words": ["好"]}}
    )
    found.note(3, {"perplexity": 12, "broken": float("nan"), "deep": {"a": {"b": {"c": {"d": {"e": 1}}}}}})
    tables, numbers = table_figures(found, Findings()), number_figures(found, Findings())
    assert tables["personal"] == {
        "rows": 2,
        "dropped_rows": 0,
        "names": 2,
        "total": 4,
        "kept": {"手機": 3, "信箱": 1},
        "dropped": {},
    }
    assert tables["language"]["kept"] == {"yue": 1} and tables["flag"]["kept"] == {"yes": 1}
    assert tables["quality: words"]["kept"] == {"好": 1}
    assert set(numbers) == {"near: size", "near: similarity", "quality: score", "perplexity"}
    assert "near" not in tables and numbers["near: size"]["kept"]["most"] == 3


def test_whole_numbers_have_bins_of_their_own() -> None:
    found = Findings()
    for key, value in enumerate([2, 2, 3, 5]):
        found.note(key, {"size": value})
    figures = number_figures(found, Findings())["size"]
    assert figures["edges"] == [2, 3, 4, 5, 6] and figures["kept_bins"] == [2, 1, 0, 1]
    assert number_figures(Findings(), found)["size"]["dropped_bins"] == [2, 1, 0, 1]


def test_tables_and_clusters_stay_small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(findings, "MOST_NAMES", 10)
    monkeypatch.setattr(findings, "MOST_SUBJECTS", 5)
    monkeypatch.setattr("hanlin.make.collect.report.clusters.MOST_CLUSTERS", 10)
    found, clusters = Findings(), Clusters()
    for number in range(200):
        found.note(number, {"words": {"often": 1, f"rare {number}": 1}, f"subject {number}": 0.5})
        clusters.note(number, f"row {number}", f"duplicate: {'often' if number % 2 else number}")
    assert len(found.tables["words"]) <= 21 and found.tables["words"]["often"] == 200
    assert len(found.numbers) == 5
    assert len(clusters.by_first) <= 21 and clusters.largest(1)[0][1].offered == 100


def test_a_type_for_each_row_fills_no_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hanlin.make.collect.report.tally.MOST_KINDS", 60)
    train = [Row(id=f"{n}", text="玉山", type=f"type {n:03d}", language=f"x-{n}") for n in range(200)]
    source = Source("s", True, skipped={f".suffix{n}": 1 for n in range(100)})
    report = report_of(corpus(tmp_path / "corpus", train, files=2), sources=[source])
    assert len(report["types"]) == len(report["languages"]) == 61
    assert sum(counts["train_rows"] for counts in report["types"].values()) == 200
    page = as_html(report)
    assert "…還有 21 種" in page and "（共 100 種）" in page and ".suffix50" not in page


def test_clusters_are_shown_with_their_rows(tmp_path: Path) -> None:
    train = [Row(id="a: b (0.5)", text="玉山是最高的山。"), Row(id="c", text="別的")]
    rejected = [
        *(Row(id=f"d{n}", text=f"玉山是很高的山{n}", reason=f"near duplicate: a: b (0.5) (0.8{n})") for n in range(7)),
        Row(id="e", text="別的", reason="duplicate: c"),
        Row(id="f", text="別的", reason="quality: no duplicate: c"),
        Row(id="g", text="遠方", reason="duplicate: elsewhere.txt"),
    ]
    clusters = report_of(corpus(tmp_path / "corpus", train, rejected=rejected))["clusters"]
    assert [(cluster["id"], cluster["dropped"]) for cluster in clusters] == [
        ("a: b (0.5)", 7),
        ("c", 1),
        ("elsewhere.txt", 1),
    ]
    assert clusters[0]["row"]["text"] == "玉山是最高的山。" and len(clusters[0]["members"]) == 4
    assert all(member["text"].startswith("玉山是很高") for member in clusters[0]["members"])
    assert {member["likeness"] for member in clusters[0]["members"]} <= {f"0.8{n}" for n in range(7)}
    assert clusters[2]["row"] is None


def test_an_excerpt_shows_a_little_of_everything() -> None:
    long = "山" * 5000
    row = Row(id="a", messages=(user(long), assistant(long)), chosen=(assistant(long),), rejected=(assistant("短"),))
    shown = excerpt(row)
    assert shown["kind"] == "preference" and shown["characters"] == row.characters
    assert len(shown["messages"][0]["content"]) == EXCERPT_CHARS + 1 and 1 < len(shown["messages"][1]["content"]) < 100
    assert len(shown["chosen"][0]["content"]) == EXCERPT_CHARS + 1 and shown["rejected"][0]["content"] == "短"
    many = excerpt(Row(id="b", messages=tuple(user(f"{n}") for n in range(50))))
    assert len(many["messages"]) == 12 and many["num_messages"] == 50
    call = {"role": "assistant", "content": "", "tool_calls": [{"function": {"name": "f", "arguments": {"x": 1}}}, "?"]}
    assert excerpt(Row(id="c", messages=(call,)))["messages"][0]["calls"] == ["f({'x': 1})"]


@given(first=texts, second=texts)
def test_differences_lose_nothing(first, second) -> None:
    both = differences(first, second)
    assert ["".join(text for text, _ in pieces) for pieces in both] == [first, second]
    if first == second:
        assert not any(differs for pieces in both for _, differs in pieces)


def test_differences_name_the_other_wording() -> None:
    mine, theirs = differences("這套軟體很好用", "這套軟件很好用")
    assert ("體", True) in mine and ("件", True) in theirs
    assert differences("完全不同", "abcdefg")[0] == [("完全不同", False)]
    tail = "尾" * 3000
    assert "".join(text for text, _ in differences("軟體" + tail, "軟件" + tail)[0]) == "軟體" + tail


def test_bins_of_lengths_say_what_is_in_them() -> None:
    assert [span_of(a, b) for a, b in zip(LENGTHS, (*LENGTHS[1:], None))][:4] == ["0", "1–9", "10–19", "20–49"]
    assert span_of(LENGTHS[-1], None).endswith("以上")


# The page.


class Tags(HTMLParser):
    """All tags, attributes that are URLs or scripts, and the text of a page."""

    def __init__(self, page: str):
        super().__init__()
        self.tags: Counter[str] = Counter()
        self.words: list[str] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag, attrs) -> None:
        self.tags[tag] += 1
        assert not [name for name, _ in attrs if name.startswith("on") or name in ("src", "href")], (tag, attrs)

    def handle_data(self, data) -> None:
        self.words.append(data)


def hostile_report(tmp_path: Path) -> dict:
    said = (system(HOSTILE), user(HOSTILE), assistant(HOSTILE))
    facts = {"source": HOSTILE, "type": HOSTILE, "language": HOSTILE, "script": "Hant"}
    found = {
        HOSTILE: {HOSTILE: 3},
        "original": f"{HOSTILE}，",
        "wording": {HOSTILE: 1},
        "near": HOSTILE,
        "score": 0.5,
        "list": [HOSTILE],
        "mark": HOSTILE,
        f"{HOSTILE}2": {HOSTILE: 0.5},
    }
    train = [
        Row(id=HOSTILE, text=HOSTILE, notes=found, **facts),
        Row(id=f"chat {HOSTILE}", messages=said, **facts),
        Row(id=f"pair {HOSTILE}", messages=said[:2], chosen=(said[2],), rejected=(assistant(f"{HOSTILE}。"),), **facts),
    ]
    rejected = [
        Row(id=f"{n}{HOSTILE}", text=HOSTILE, reason=reason, **facts)
        for n, reason in enumerate(
            [f"duplicate: {HOSTILE}", f"near duplicate: {HOSTILE} (0.9)", f"{HOSTILE}: {HOSTILE}"]
        )
    ]
    source = Source(HOSTILE, True, HOSTILE, 1, 6, {HOSTILE: 2}, [HOSTILE], 30)
    counts = [Count("read", 6, 99, 3, 50, {HOSTILE: [1, 9]}), Count(HOSTILE, 3, 50, 3, 50)]
    report = report_of(corpus(tmp_path / "corpus", train, rejected=rejected), sources=[source], counts=counts)
    return {**report, "mix": [{"source": HOSTILE, "size": 9, "unit": "characters", "epochs": 1.0, "share": 1.0}]}


def test_no_row_can_break_the_page(tmp_path: Path) -> None:
    page = as_html(hostile_report(tmp_path))
    tags = Tags(page)
    assert not {"script", "img", "textarea", "iframe", "link"} & set(tags.tags)
    assert tags.tags["style"] == 1 and "default-src 'none'" in page
    assert "".join(tags.words).count(HOSTILE) > 20, "it is shown as text"


def test_the_page_shows_each_kind_as_what_it_is(tmp_path: Path) -> None:
    chat = Row(id="a", messages=(user("雨天要帶什麼？"), assistant("帶傘。")), type="conversation")
    pair = Row(id="b", messages=(user("問"),), chosen=(assistant("軟體好用"),), rejected=(assistant("軟件好用"),))
    page = as_html(report_of(corpus(tmp_path / "chat", [chat, pair])))
    assert '<li class="user"><span>使用者</span><div class="text" dir="auto">雨天要帶什麼？</div></li>' in page
    assert '<div class="pair"><div class="chosen">' in page
    assert "軟<mark>體</mark>好用" in page and "軟<mark>件</mark>好用" in page
    liked = as_html(report_of(corpus(tmp_path / "liked", [Row(id="c", chosen=(assistant("好"),))])))
    assert 'class="chosen"' in liked and 'class="rejected"' not in liked


def test_converted_rows_are_shown_before_and_after(tmp_path: Path) -> None:
    notes = {
        "original": "這套軟件很好用。",
        "wording": {"軟件": 2},
        "personal": {"mobile": 1},
        "facts": {"作者": "李白"},
    }
    chat = Row(id="b", messages=(user("軟體？"), assistant("好用。")), notes={"original": ["軟件？", "好用。"]})
    report = report_of(corpus(tmp_path / "corpus", [Row(id="a", text="這套軟體很好用。", notes=notes), chat]))
    page = as_html(report)
    assert report["changed"] == 2 and len(report["changed_samples"]) == 2
    assert "這套軟<mark>件</mark>很好用。" in page and "這套軟<mark>體</mark>很好用。" in page
    assert "軟<mark>件</mark>？" in page
    assert '<th scope="row">軟件 → 軟體</th><td>2</td>' in page and "手機號碼" in page
    assert set(report["found"]) == {"wording", "personal"}, "what readers leave for builders is not counted"


def test_many_measures_of_a_step_are_folded(tmp_path: Path) -> None:
    rows = [Row(id=f"{n}", text="玉山", notes={"quality": {f"figure {k}": n / 9 for k in range(6)}}) for n in range(9)]
    page = as_html(report_of(corpus(tmp_path / "corpus", rows)))
    assert "品質 <small" in page and "：6 項</summary>" in page


def test_the_funnel_says_where_rows_went(tmp_path: Path) -> None:
    train = [Row(id=f"{n}", text="玉山是臺灣最高的山") for n in range(6)]
    rejected = [
        Row(id="x", text="短", reason="too short: 1 characters"),
        Row(id="y", text="對話", reason="other kind: chat"),
    ]
    counts = [
        Count("read", 8, 60, 7, 58, {"too short": [1, 1]}),
        Count("build", 7, 58, 9, 80),
        Count("normalise", 9, 80, 9, 70),
    ]
    report = report_of(corpus(tmp_path / "corpus", train, rejected=rejected), counts=counts)
    page = as_html(report)
    assert "−1 太短" in page and "−1 不是要留的種類" in page
    assert "多了 2 列" in page and "改動後少了 10 字" in page
    text = as_markdown(report)
    assert "| read | 8 | 7 | 58 | 1 too short |" in text and "| normalise | 9 | 9 | 70 |  |" in text


def test_an_empty_split_is_reported_too(tmp_path: Path) -> None:
    report = report_of(corpus(tmp_path / "corpus", [], rejected=[Row(id="a", reason="empty")]))
    assert report["kind"] == "" and report["lengths"] == [] and report["dropped"] == {"empty": 1}
    assert all(report["splits"][split] == {"rows": 0, "characters": 0} for split in KEPT)
    assert "—" in as_html(report) and as_markdown(report)
