"""`hanlin runs list|show|compare`, as a person types them, on real runs."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from toy import PRETRAIN, Answer, assert_four_lines, steps_of

from hanlin.core.run.artifact import read_manifest
from hanlin.report.record import read_record
from hanlin.workflow import make

Command = Callable[..., Answer]


@pytest.fixture
def folder(life) -> Path:
    return life.base.path.parent


def test_the_list_has_every_run(folder: Path, command: Command) -> None:
    answer = command("runs", "list", folder)
    assert answer.code == 0, answer.err
    for name in ("corpus", "tokenizer", "base", "questions", "chat", "adapter"):
        assert f"{folder / name} " in answer.out
    assert answer.out.count("finished") == 6 and "\x1b" not in answer.out
    bpc = read_manifest(folder / "base").metrics["heldout_bpc"]
    assert f"{bpc:.3f} bits/char" in answer.out
    assert command("runs", folder).out == answer.out, "the folder alone is enough"


def test_without_a_folder_it_is_runs(tmp_path: Path, command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    answer = command("runs")
    assert (answer.code, answer.out) == (0, "Nothing in runs yet. Start with: hanlin demo\n")
    assert command("runs", "list").out == answer.out


def test_a_run_is_shown(folder: Path, command: Command) -> None:
    answer = command("runs", "show", folder / "base", "--by", "tokens")
    assert answer.code == 0, answer.err
    for told in (
        "train.steps",
        "default null",
        "bits per character",
        "held-out: 0% ",
        "learning rate",
        "台灣▸",
        "tokens/s",
    ):
        assert told in answer.out, told
    assert command("runs", "show", folder / "corpus").code == 0


def test_the_short_reading_of_a_real_log(folder: Path) -> None:
    """The loop's lines begin as the list expects: all its steps but the last of each stretch are passed over."""
    base = folder / "base"
    whole, short = read_record(base), read_record(base, every_step=False)
    assert len(whole.events) > len(short.events)
    assert short.history().steps[-1]["step"] == max(steps_of(base))


def test_a_run_is_written_as_a_page(folder: Path, tmp_path: Path, command: Command) -> None:
    page = tmp_path / "base.html"
    answer = command("runs", "show", folder / "base", "--html", page)
    assert (answer.code, answer.out) == (0, f"page: {page}\n")
    assert "<svg" in page.read_text(encoding="utf-8")
    assert_four_lines(
        command("runs", "show", folder / "base", "--html", tmp_path / "nowhere" / "page.html"), "No such file"
    )


def test_runs_are_compared(life, folder: Path, tmp_path: Path, command: Command) -> None:
    values = {**PRETRAIN, "train": {**PRETRAIN["train"], "seed": 1}}
    made_of = {"corpus": str(life.corpus.path), "tokenizer": str(life.tokenizer.path)}
    other = make("pretrain", {**made_of, **values}, tmp_path / "other")
    answer = command("runs", "compare", folder / "base", other.path, "--by", "steps")
    assert answer.code == 0, answer.err
    assert re.search(r"train\.seed +0 +1\n", answer.out), answer.out
    assert "heldout_bpc" in answer.out and "after equal steps" in answer.out
    page = tmp_path / "both.html"
    assert command("runs", "compare", folder / "base", other.path, "--html", page).code == 0
    assert "train.seed" in page.read_text(encoding="utf-8")


def test_names_that_are_no_runs(folder: Path, command: Command) -> None:
    answer = command("runs", "show", folder / "bse")
    assert_four_lines(answer, "There is no run")
    assert f"hanlin runs show {folder / 'base'}" in answer.err
    assert_four_lines(command("runs", "show", folder), "is a folder of 6 runs")
    assert_four_lines(command("runs", "compare", folder / "base"), "nothing to compare")
    answer = command("runs", "shwo", folder / "base")
    assert_four_lines(answer, 'no command "shwo"')
    assert 'did you mean "show"?' in answer.err
    assert_four_lines(command("runs", "list", folder / "nowhere"), "does not exist")
    assert_four_lines(command("runs", "show", folder / "base", "--by", "miles"), "miles")
