"""`--dry-run`: what it says is what happens, and nothing is left of it."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import pytest
from toy import assert_four_lines, command

from hanlin.core.run.artifact import Artifact
from hanlin.core.run.events import silent
from hanlin.core.run.sources import fetch
from hanlin.core.text.documents import Row, write_rows
from hanlin.curves import PLAIN
from hanlin.make.collect.config import Collect
from hanlin.make.collect.dry_run import dry_run
from hanlin.make.collect.run import run
from hanlin.shows.dry_run import lines_of, parting

__all__ = ["command"]


@pytest.fixture
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder for temporary files: empty again at the end."""
    folder = tmp_path / "scratch"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


def write_notes(folder: Path, number: int = 40) -> Path:
    folder.mkdir()
    for place in range(number):
        (folder / f"{place:02d}.txt").write_text(f"第{place % 30}則筆記，寫得夠長了。", encoding="utf-8")
    (folder / "zz.jpg").write_bytes(b"\xff")
    return folder


def sources_of(*addresses: Path) -> dict[str, Artifact]:
    return {f"sources.{number}": fetch(str(address), silent) for number, address in enumerate(addresses)}


def test_the_funnel_is_that_of_the_run(tmp_path: Path, scratch: Path) -> None:
    """A sample that is all of it says what the run will say."""
    lines = "\n".join(json.dumps({"text": f"第{n}行，也夠長了吧。"}) for n in range(20)) + '\n{"text": "短"}'
    (tmp_path / "my.jsonl").write_text(lines, encoding="utf-8")
    inputs = sources_of(write_notes(tmp_path / "notes"), tmp_path / "my.jsonl")
    trial = dry_run(Collect(), inputs, 1000)
    (tmp_path / "out").mkdir()
    run(Collect(), inputs, tmp_path / "out", silent)
    report = json.loads((tmp_path / "out" / "report.json").read_text(encoding="utf-8"))
    for name in ("steps", "splits", "dropped", "script", "lengths", "samples", "clusters"):
        assert trial.report[name] == report[name], name
    assert trial.is_whole and trial.rows == report["rows_read"] == 61 and not trial.warnings
    assert not any(scratch.iterdir())


def test_the_rest_is_estimated_from_what_was_read(tmp_path: Path, scratch: Path) -> None:
    trial = dry_run(Collect(), sources_of(write_notes(tmp_path / "notes")), 10)
    assert trial.samples[0].rows == 10 and not trial.is_whole
    assert 30 <= trial.rows <= 50 and trial.report["rows_read"] == 10
    assert dry_run(Collect(limit=20), sources_of(tmp_path / "notes"), 10).rows == 20
    assert dry_run(Collect(limit=5), sources_of(tmp_path / "notes"), 10).report["rows_read"] == 5


def test_of_a_corpus_the_share_is_exact(tmp_path: Path, scratch: Path) -> None:
    folder = tmp_path / "corpus"
    folder.mkdir()
    write_rows(
        folder / "train.parquet", [Row(id=f"{n}", text=f"第{n}則筆記，寫得夠長。", group=f"{n}") for n in range(50)]
    )
    write_rows(folder / "heldout.parquet", [])
    trial = dry_run(Collect(), {"sources.0": Artifact(folder, "corpus", "x")}, 10)
    total = sum(path.stat().st_size for path in folder.iterdir())
    first = (folder / "train.parquet").stat().st_size
    assert trial.samples[0].share == pytest.approx(first / total * 10 / 50)
    assert trial.report["rows_read"] == 10


def test_changed_rows_are_shown_before_and_after(tmp_path: Path, scratch: Path) -> None:
    (tmp_path / "a.jsonl").write_text(
        "\n".join(json.dumps({"text": text}) for text in ("這是　全形１２３的文字。", "這一列沒有什麼要改的。")),
        encoding="utf-8",
    )
    config = Collect(steps=["normalise", "exact"], heldout_share=0)
    trial = dry_run(config, sources_of(tmp_path / "a.jsonl"), 10)
    changed = {change.id for change in trial.changes}
    assert trial.num_changed == len(changed) and changed <= {"a.jsonl:1"}
    for change in trial.changes:
        assert change.before == "這是　全形１２３的文字。" != change.after


def test_what_would_stop_the_run_is_a_warning(tmp_path: Path, scratch: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"text": "這一列可以讀。夠長了吧？"}\n{"nothing": 1}\n', encoding="utf-8")
    (tmp_path / "b.jsonl").write_text('{"instruction": "問題？", "output": "回答。"}\n', encoding="utf-8")
    (tmp_path / "c.txt").write_text("短", encoding="utf-8")
    broken = dry_run(Collect(), sources_of(tmp_path / "a.jsonl"), 10)
    assert len(broken.warnings) == 1 and "a.jsonl, line 2" in broken.warnings[0]
    assert broken.report["dropped"] == {"unreadable": 1}
    mixed = dry_run(Collect(bad="skip"), sources_of(tmp_path / "a.jsonl", tmp_path / "b.jsonl"), 10)
    assert "is a conversation" in mixed.warnings[0] and mixed.report == {}
    nothing = dry_run(Collect(), sources_of(tmp_path / "c.txt"), 10)
    assert "Nothing is left" in nothing.warnings[0]
    for trial in (broken, mixed, nothing):
        assert any("! the run would stop: " in line for line in lines_of(trial, Collect(), 10, 80, PLAIN))
    assert not any(scratch.iterdir())


def test_the_difference_is_in_sight() -> None:
    before, after = parting("甲" * 100 + "軟件" + "乙" * 100, "甲" * 100 + "軟體" + "乙" * 100, 30)
    assert before.startswith("…甲") and "軟件" in before[:15] and "軟體" in after[:15] and len(before) <= 31
    assert parting("一\n\n二\x1b\u3000", "一\n二", 30) == ("一⏎⏎二�\u3000", "一⏎二")
    assert parting("一樣長", "一樣", 30) == ("一樣長", "一樣")


def test_on_the_command_line(tmp_path: Path, scratch: Path, command) -> None:
    notes = write_notes(tmp_path / "notes")
    out = tmp_path / "corpus"
    answer = command("collect", f"sources={notes}", f"out={out}", "--dry-run", "--sample", "12")
    assert answer.code == 0, answer.err
    for part in (
        "12 rows of each source",
        "40 files (40 by plain); not read: 1 × .jpg",
        "1. normalise",
        "kept",
        "All of it: about",
    ):
        assert part in answer.out, answer.out
    assert not out.exists() and not list(tmp_path.glob("*.partial")) and not any(scratch.iterdir())
    assert "\x1b" not in answer.out
    whole = command("collect", f"sources={notes}", "--dry-run")
    assert "Dry run on all rows" in whole.out and "−10 duplicate" in whole.out and "That was all: 40 rows" in whole.out


def test_a_sample_has_some_of_every_file(tmp_path: Path) -> None:
    folder = tmp_path / "mixed"
    folder.mkdir()
    for name in ("a", "b", "c"):
        lines = (json.dumps({"text": f"{name}的第{n}行，也夠長了吧。", "type": name}) + "\n" for n in range(200))
        (folder / f"{name}.jsonl").write_text("".join(lines), encoding="utf-8")
    inputs = sources_of(folder)
    trial = dry_run(Collect(heldout_share=0), inputs, 90)
    assert {name: counts["train_rows"] for name, counts in trial.report["types"].items()} == {"a": 30, "b": 30, "c": 30}
    assert 0 < trial.samples[0].share < 0.3 and not trial.is_whole
    first = dry_run(Collect(heldout_share=0, limit=50), inputs, 90)
    assert {*first.report["types"]} == {"a"}


def test_mistakes_are_those_of_the_room(tmp_path: Path, command) -> None:
    assert_four_lines(command("collect", "--dry-run"), "collect needs sources=")
    assert_four_lines(command("collect", f"sources={tmp_path}", "stepps=[]", "--dry-run"), 'no option "stepps"')
    assert_four_lines(command("collect", f"sources={tmp_path}", "--dry-run"), "nothing that can be read")
    assert command("collect", f"sources={tmp_path}", "--dry-run", "--sample", "0").code == 2
