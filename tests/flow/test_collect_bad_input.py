"""Whatever a folder holds, through the whole command: counted, named, skipped or refused. Never a traceback."""

from __future__ import annotations

import gzip
import io
import json
import os
import signal
import sqlite3
import subprocess
import sys
import tarfile
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from toy import Answer, assert_four_lines

from hanlin.core.text.documents import read_rows
from hanlin.make.collect.reading import json_array, jsonl

Command = Callable[..., Answer]

TEXT = "這是一篇用來測試的文章，說的是臺灣的法律與生活。" * 3
NUM_BOMB_BYTES = 80 * 2**20


@pytest.fixture
def good(tmp_path: Path) -> Path:
    folder = tmp_path / "good"
    folder.mkdir()
    for number in range(6):
        (folder / f"{number}.txt").write_text(f"{TEXT}第{number}篇。", encoding="utf-8")
    return folder


def collected(command: Command, tmp_path: Path, *words: str) -> tuple[dict[str, str], str]:
    """({id: reason} of all rows, what was said) of a run that ends well."""
    answer = command("collect", *words, f"out={tmp_path / 'corpus'}")
    assert answer.code == 0, answer.err
    rows = [row for split in ("train", "heldout", "rejected") for row in read_rows(tmp_path / "corpus", split)]
    return {row.id: row.reason for row in rows}, answer.out


def test_files_that_cannot_be_read_are_named_and_the_others_read(good: Path, tmp_path: Path, command: Command) -> None:
    import pypdf

    (good / "folder.txt").mkdir()
    (good / "gone.txt").symlink_to(tmp_path / "nowhere.txt")
    (good / "round").symlink_to(good, target_is_directory=True)
    (good / "song.mp3").write_bytes(b"\xff\xfb")
    (good / "noise.txt").write_bytes(bytes(range(256)) * 9)
    (good / "zeros.txt").write_bytes(b"\0" * 3000)
    (good / "not.pdf").write_bytes(b"hello")
    writer = pypdf.PdfWriter()
    writer.add_blank_page(200, 200)
    writer.encrypt("secret")
    writer.write(good / "locked.pdf")
    rows, said = collected(command, tmp_path, f"sources={good}")
    assert {name for name, reason in rows.items() if reason.startswith("unreadable: ")} == {
        "noise.txt",
        "zeros.txt",
        "not.pdf",
        "locked.pdf",
    }
    assert rows["locked.pdf"] == "unreadable: encrypted with a password"
    assert "not read: 1 × .mp3" in said and "1 × broken link" in said and "1 × link to a folder" in said
    assert [rows[f"{number}.txt"] for number in range(6)] == [""] * 6


def test_archives_that_bomb_or_climb_out(good: Path, tmp_path: Path, command: Command) -> None:
    with gzip.open(good / "bomb.txt.gz", "wb", compresslevel=1) as file:
        file.write(b"0" * NUM_BOMB_BYTES)
    with zipfile.ZipFile(good / "bomb.zip", "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        archive.writestr("a.txt", b"0" * NUM_BOMB_BYTES)
    with zipfile.ZipFile(good / "climb.zip", "w") as archive:
        archive.writestr("../outside.txt", TEXT)
        archive.writestr("inside.txt", TEXT)
    with tarfile.open(good / "climb.tar", "w") as archive:
        for name in ("../outside.txt", "/tmp/outside.txt", "inside.txt"):
            entry = tarfile.TarInfo(name)
            entry.size = len(data := f"{TEXT}{name}".encode())
            archive.addfile(entry, io.BytesIO(data))
    rows, _ = collected(command, tmp_path, f"sources={good}")
    assert {rows[name].partition(" to over")[0] for name in ("bomb.txt.gz", "bomb.zip")} == {"unreadable: unpacks"}
    for name in ("climb.zip!../outside.txt", "climb.tar!../outside.txt", "climb.tar!/tmp/outside.txt"):
        assert rows[name] == "unreadable: a path that leads out of the archive"
    assert rows["climb.zip!inside.txt"] == rows["climb.tar!inside.txt"] == ""
    assert not (tmp_path / "outside.txt").exists()


@pytest.mark.parametrize("suffix", [".jsonl", ".json"])
def test_a_line_without_an_end(suffix: str, tmp_path: Path, command: Command, monkeypatch) -> None:
    # 64 MiB in the field; the test writes less.
    for module in (json_array, jsonl):
        monkeypatch.setattr(module, "MAX_VALUE_BYTES", 2**20)
    source = tmp_path / f"long{suffix}"
    with source.open("w", encoding="utf-8") as file:
        file.write('[{"text": "' if suffix == ".json" else f'{{"text": "{TEXT}"}}\n{{"text": "')
        file.writelines(TEXT for _ in range(50_000))
    answer = command("collect", f"sources={source}")
    assert_four_lines(answer, "one row of over")
    assert "bad=skip" in answer.err
    answer = command("collect", f"sources={source}", "bad=skip", f"out={tmp_path / 'corpus'}")
    if suffix == ".json":
        assert_four_lines(answer, "Nothing is left of 1 rows read (1 unreadable)")
    else:
        assert answer.code == 0
        (kept,) = read_rows(tmp_path / "corpus", "train")
        assert kept.text == TEXT


def test_characters_that_no_file_should_hold(tmp_path: Path, command: Command) -> None:
    source = tmp_path / "odd.jsonl"
    odd = [f"{TEXT}\0{TEXT}一", f"{TEXT}\ud800{TEXT}二", f"{TEXT}三\udfff"]
    chat = {"messages": [{"role": "user", "content": "好\ud800嗎"}, {"role": "assistant", "content": "好\0"}]}
    source.write_text("".join(json.dumps({"text": text}) + "\n" for text in odd), encoding="utf-8")
    rows, _ = collected(command, tmp_path, f"sources={source}", "heldout_share=0")
    assert set(rows.values()) == {""}
    texts = [row.text for row in read_rows(tmp_path / "corpus", "train")]
    assert texts == [f"{TEXT}{TEXT}一", f"{TEXT}{TEXT}二", f"{TEXT}三"]
    talk = tmp_path / "talk.jsonl"
    talk.write_text(json.dumps(chat), encoding="utf-8")
    assert command("collect", f"sources={talk}", f"out={tmp_path / 'chat'}").code == 0


def test_a_table_whose_columns_change(tmp_path: Path, command: Command) -> None:
    source = tmp_path / "table.csv"
    source.write_text(f"text,year\n{TEXT}一,2020\n{TEXT}二,2021,more\n{TEXT}三,2022\n", encoding="utf-8")
    answer = command("collect", f"sources={source}")
    assert_four_lines(answer, "table.csv, line 3: 3 cells, but the table has 2 columns")
    rows, _ = collected(command, tmp_path, f"sources={source}", "bad=skip")
    assert sorted(map(bool, rows.values())) == [False, False, True]


def test_databases_and_pins(good: Path, tmp_path: Path, command: Command) -> None:
    database = tmp_path / "data.db"
    connection = sqlite3.connect(database)
    connection.execute("create table notes(text)")
    connection.execute("insert into notes values(?)", (TEXT,))
    connection.commit()
    for statement in ("DELETE FROM notes", "WITH a AS (SELECT 1) DELETE FROM notes", "SELECT 1; DROP TABLE notes"):
        assert_four_lines(command("collect", f"sources=sql:sqlite:///{database}#{statement}"), "not read")
    assert connection.execute("select count(*) from notes").fetchone() == (1,)
    connection.close()
    pinned = f"sources={good}/0.txt#sha256={'0' * 64}"
    assert_four_lines(command("collect", pinned), "does not have the pinned sha256")


def test_a_result_inside_its_source_is_refused_and_leaves_nothing(
    good: Path, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(good)
    for out in ("corpus", "runs/corpus", "."):
        for source in (".", str(good)):
            answer = command("collect", f"sources={source}", f"out={out}")
            assert_four_lines(answer, "exists and is not an artifact" if out == "." else "lies inside the source")
    assert sorted(path.name for path in good.iterdir()) == [f"{number}.txt" for number in range(6)]
    assert command("collect", "sources=0.txt", "out=corpus").code == 0


@pytest.mark.parametrize(
    ("words", "what", "expected"),
    [
        (["steps=[normalize]"], 'no step "normalize"', 'did you mean "normalise"?'),
        (["steps=[near: {treshold: 0.8}]"], 'no option "steps.0.near.treshold"', 'did you mean "threshold"?'),
        (["steps=[exact, {personal: {actoin: mask}}]"], "steps.1.personal.actoin", 'did you mean "action"?'),
        (["steps=[near: {threshold: 1.8}]"], "less than or equal to 1", ""),
        (["steps=[near: 0.8]"], "0.8 are not options", ""),
        (["steps={near: {threshold: 0.8}}"], "steps are a list", ""),
        (["min_char=3"], 'no option "min_char"', 'did you mean "min_chars"?'),
        (["steps=[classifier]"], "0 texts in good_examples", ""),
        (["steps=[perplexity]"], "perplexity has no model", ""),
        (["steps=[decontaminate]"], "nothing to compare with", "evaluation"),
        (["rows=chat"], "Nothing is left of 6 rows read (6 other kind)", ""),
        (["mix.weights=[1, 2]"], "2 numbers, but the 1 sources are good", ""),
        (["mix.weights={god: 1}"], "numbers for god, but the 1 sources are good", "good: 1"),
        (["mix.order=easy_first"], "no bits per character", "perplexity"),
    ],
)
def test_options_that_cannot_be(
    words: list[str], what: str, expected: str, good: Path, tmp_path: Path, command: Command
) -> None:
    answer = command("collect", f"sources={good}", f"out={tmp_path / 'corpus'}", *words)
    assert_four_lines(answer, what)
    assert expected in answer.err


def test_a_folder_beside_the_command_is_called_by_its_name(
    good: Path, tmp_path: Path, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert command("collect", "sources=good", "mix.weights={good: 1}", "out=corpus").code == 0


@pytest.mark.skipif(not hasattr(os, "killpg"), reason="process groups are POSIX's")
def test_ctrl_c_in_the_middle_of_a_pool(tmp_path: Path, command: Command) -> None:
    folder = tmp_path / "many"
    folder.mkdir()
    for file in range(4):
        rows = (json.dumps({"text": f"{TEXT * 20}{file}、{number}"}) + "\n" for number in range(1500))
        (folder / f"{file}.jsonl").write_text("".join(rows), encoding="utf-8")
    words = ["collect", f"sources={folder}", f"out={tmp_path / 'corpus'}", "engine=pool", "workers=2", "steps=[exact]"]
    run = subprocess.Popen(
        [sys.executable, "-m", "hanlin.cli", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    work = tmp_path / "corpus.partial" / "work" / "stage-0"
    while run.poll() is None and not list(work.glob("*.json")):
        time.sleep(0.02)
    # As a terminal does it: to every process of the group.
    os.killpg(run.pid, signal.SIGINT)
    said, _ = run.communicate(timeout=60)
    assert "Traceback" not in said
    if run.returncode:  # it may have been faster
        assert run.returncode == 130 and "Stopped by Ctrl-C" in said and "run the same command again" in said
    assert command(*words).code == 0
    kept = [row.id for split in ("train", "heldout", "rejected") for row in read_rows(tmp_path / "corpus", split)]
    assert len(kept) == len(set(kept)) == 6000
