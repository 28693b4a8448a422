"""Kill it, stop it, start it again: nothing is lost, and the result is that of a run nobody disturbed."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from toy import EVALUATE, FINETUNE, PRETRAIN, QUANTIZE, TOKENIZE, Answer, listening, result_of, steps_of, words_of

from hanlin.core.run.artifact import is_artifact, read_manifest
from hanlin.core.run.config import parse_overrides
from hanlin.core.run.events import EVENTS_FILE, read_events
from hanlin.core.train.compiling import compiler_name
from hanlin.workflow import make

STEPS = 150


def pretrain_words(life, out: Path, steps: int = STEPS, **train: Any) -> list[str]:
    options = {**PRETRAIN, "train": {**PRETRAIN["train"], "steps": steps, **train}}
    inputs = [f"corpus={life.corpus.path}", f"tokenizer={life.tokenizer.path}", f"out={out}"]
    return ["pretrain", *inputs, *words_of(options)]


def start(*words: str) -> subprocess.Popen[str]:
    """The command in a process of its own. One thread, as in this process: the order of additions decides the bits."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [sys.executable, "-m", "hanlin.cli", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    )


def signal_at(step: int, folder: Path, process: subprocess.Popen[str], number: int) -> tuple[int, str]:
    """Send the signal when the log shows `step`: (exit code, standard error). The moment inside the step is chance."""
    while process.poll() is None:
        if step in steps_of(folder):
            time.sleep(random.uniform(0, 0.02))
            process.send_signal(number)
            break
        time.sleep(0.002)
    _, complaints = process.communicate(timeout=300)
    return process.returncode, complaints


def losses(folder: Path) -> dict[int, tuple[float, float]]:
    return {number: (event["loss"], event["norm"]) for number, event in steps_of(folder).items()}


@pytest.fixture(scope="module")
def undisturbed(life, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same pretraining, never stopped."""
    out = tmp_path_factory.mktemp("undisturbed") / "base"
    make("pretrain", parse_overrides(pretrain_words(life, out)[1:]))
    return out


@pytest.mark.parametrize("checkpoint_seconds", [0, 0.1])
def test_killed_and_resumed_losses_are_the_same_bits(
    life, undisturbed: Path, tmp_path: Path, command: Callable[..., Answer], checkpoint_seconds: float
) -> None:
    """kill -9 at a random step; what follows the last checkpoint is run again, to the same bits."""
    out, partial = tmp_path / "base", tmp_path / "base.partial"
    words = pretrain_words(life, out, checkpoint_seconds=checkpoint_seconds)
    killed_at = random.randint(2, STEPS // 6)
    assert signal_at(killed_at, partial, start(*words), signal.SIGKILL) == (-signal.SIGKILL, "")
    assert partial.exists() and not out.exists()
    before = losses(partial)
    again = command(*words)
    assert (again.code, again.err) == (0, "") and not partial.exists()
    assert losses(out) == losses(undisturbed)
    assert before.items() <= losses(out).items()
    files, figures = result_of(out)
    wanted_files, wanted_figures = result_of(undisturbed)
    assert figures == wanted_figures and len(list(read_events(out / EVENTS_FILE, "resumed"))) == 1
    assert files["model.safetensors"] == wanted_files["model.safetensors"]
    assert set(files) == set(wanted_files)


def test_ctrl_c_in_a_process_of_its_own(
    life, undisturbed: Path, tmp_path: Path, command: Callable[..., Answer]
) -> None:
    out, partial = tmp_path / "base", tmp_path / "base.partial"
    words = pretrain_words(life, out)
    code, complaints = signal_at(5, partial, start(*words), signal.SIGINT)
    lines = complaints.splitlines()
    assert code == 130 and len(lines) == 4 and lines[0].startswith("Stopped by Ctrl-C.") and str(partial) in lines[0]
    assert "run the same command again" in lines[2]
    assert command(*words).code == 0
    assert result_of(out) == result_of(undisturbed) and losses(out) == losses(undisturbed)


ROOMS: dict[str, tuple[str, int]] = {
    "collect": ("progress", 1),
    "tokenize": ("progress", 2),
    "pretrain": ("step", 3),
    "finetune": ("step", 2),
    "merge": ("progress", 3),
    "quantize": ("progress", 4),
    "evaluate": ("progress", 5),
}
"""Room → at which event Ctrl-C arrives: somewhere in the middle of its work."""


def words_for(room: str, life) -> list[str]:
    held = [f"corpus={life.corpus.path}"]
    models = [f"model={life.chat.path}", f"before={life.base.path}", f"data={life.questions.path}"]
    words = {
        "collect": [f"sources={life.texts}", "heldout_share=0.2"],
        "tokenize": [*held, *words_of(TOKENIZE)],
        "pretrain": [*held, f"tokenizer={life.tokenizer.path}", *words_of(PRETRAIN)],
        "finetune": [f"model={life.base.path}", f"data={life.talk}", *words_of(FINETUNE)],
        "merge": [f"adapter={life.adapter.path}"],
        "quantize": [f"model={life.chat.path}", *held, *words_of(QUANTIZE)],
        "evaluate": [*models, *held, *words_of(EVALUATE)],
    }
    return [room, *words[room]]


@pytest.mark.parametrize("room", list(ROOMS))
def test_ctrl_c_in_every_room(
    life, tmp_path: Path, command: Callable[..., Answer], monkeypatch: pytest.MonkeyPatch, room: str
) -> None:
    words = words_for(room, life)
    kind, count = ROOMS[room]
    seen: list[str] = []

    def interrupt(event: dict[str, Any]) -> None:
        seen.extend([event["event"]] if event["event"] == kind and event.get("room") != "collect" else [])
        if len(seen) == count and event["event"] == kind:
            signal.raise_signal(signal.SIGINT)

    whole, cut = tmp_path / "whole", tmp_path / "cut"
    assert command(*words, f"out={whole}").code == 0
    with listening(monkeypatch, interrupt):
        stopped = command(*words, f"out={cut}")
    lines = stopped.err.splitlines()
    assert (stopped.code, len(lines)) == (130, 4), stopped.err
    assert lines[0] == f"Stopped by Ctrl-C. What {room} has finished is kept in {cut}.partial."
    assert [line.split(":")[0].strip() for line in lines[1:]] == ["expected", "do", "more"]
    assert (tmp_path / "cut.partial").is_dir() and not cut.exists()
    assert [event["event"] for event in read_events(tmp_path / "cut.partial" / EVENTS_FILE)][-1] == "interrupted"
    assert command(*words, f"out={cut}").code == 0
    assert read_manifest(cut).id == read_manifest(whole).id
    assert result_of(cut) == result_of(whole)
    assert sorted(path.name for path in tmp_path.iterdir() if "data" not in path.name) == ["cut", "whole"]


@pytest.mark.parametrize("moment", ["hanlin.workflow.fetch", "hanlin.core.run.execute.hash_files"])
def test_ctrl_c_before_and_after_the_work(
    life, tmp_path: Path, command: Callable[..., Answer], monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    """While sources are fetched, and while the result is sealed."""

    def interrupt(*arguments: object) -> None:
        signal.raise_signal(signal.SIGINT)

    words = ["collect", f"sources={life.texts}", f"out={tmp_path / 'corpus'}"]
    with monkeypatch.context() as patch:
        patch.setattr(moment, interrupt)
        stopped = command(*words)
    assert (stopped.code, len(stopped.err.splitlines())) == (130, 4)
    assert command(*words).code == 0 and is_artifact(tmp_path / "corpus")


def test_an_interrupted_recipe_goes_on_where_it_stopped(
    life, tmp_path: Path, command: Callable[..., Answer], monkeypatch: pytest.MonkeyPatch
) -> None:
    steps = {
        "corpus": {"room": "collect", "sources": [str(life.texts)], "heldout_share": 0.2},
        "tokenizer": {"room": "tokenize", "corpus": "corpus", **TOKENIZE},
        "base": {"room": "pretrain", "corpus": "corpus", "tokenizer": "tokenizer", **PRETRAIN},
    }
    recipe = tmp_path / "toy.yaml"
    recipe.write_text(json.dumps({"out": str(tmp_path / "run"), "steps": steps}), encoding="utf-8")

    def interrupt(event: dict[str, Any]) -> None:
        if event["event"] == "step" and event["step"] == 2:
            signal.raise_signal(signal.SIGINT)

    with listening(monkeypatch, interrupt):
        assert command("run", recipe).code == 130
    seen: list[dict[str, Any]] = []
    with listening(monkeypatch, seen.append):
        assert command("run", recipe).code == 0
    assert [event["room"] for event in seen if event["event"] == "skipped"] == ["collect", "tokenize"]
    assert [event["step"] for event in seen if event["event"] == "step"] == [3, 4, 5, 6]
    assert read_manifest(tmp_path / "run" / "base").id == life.base.id
    assert result_of(tmp_path / "run" / "base") == result_of(life.base.path)


def test_the_resumed_run_shows_in_the_list(
    life, tmp_path: Path, command: Callable[..., Answer], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(event: dict[str, Any]) -> None:
        if event["event"] == "step":
            signal.raise_signal(signal.SIGINT)

    words = [*words_for("pretrain", life), f"out={tmp_path / 'base'}"]
    with listening(monkeypatch, interrupt):
        command(*words)
    assert "base.partial" in command("runs", tmp_path).out
    missing = command("lineage", tmp_path / "base")
    assert missing.code == 2 and len(missing.err.splitlines()) == 4
    command(*words)
    listed = command("runs", tmp_path).out
    assert "unfinished" not in listed and f"{tmp_path / 'base'} " in listed


@pytest.mark.slow
@pytest.mark.skipif(compiler_name() is None, reason="no C++ compiler for torch.compile")
def test_the_compiled_path_resumes_to_the_same_bits(life, tmp_path: Path) -> None:
    """Killed and resumed, against undisturbed: three processes, each compiled."""
    options = {"compile": "on", "checkpoint_seconds": 0, "dtype": "auto"}
    out, whole = tmp_path / "base", tmp_path / "whole"
    words = pretrain_words(life, out, **options)
    never_killed = start(*pretrain_words(life, whole, **options))
    killed_at = random.randint(2, STEPS // 6)
    code, complaints = signal_at(killed_at, tmp_path / "base.partial", start(*words), signal.SIGKILL)
    assert code == -signal.SIGKILL, complaints
    for process in (never_killed, start(*words)):
        _, complaints = process.communicate(timeout=300)
        assert process.returncode == 0, complaints
    assert losses(out) == losses(whole)
    assert result_of(out) == result_of(whole)
