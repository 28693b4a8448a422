"""`hanlin rehearse`: a recipe and commands at toy size, and what it says when the real run would fail."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from toy import (
    EVALUATE,
    FINETUNE,
    PRETRAIN,
    QUANTIZE,
    TOKENIZE,
    Answer,
    assert_four_lines,
    words_of,
    write_conversations,
    write_texts,
)

from hanlin.rehearsal import work
from hanlin.workflow import make, run_recipe

Command = Callable[..., Answer]


@pytest.fixture(autouse=True)
def one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in this process; tiny matrices on many threads are slow."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


def write_recipe(folder: Path, **changes: dict[str, Any]) -> Path:
    """From text to an adapter that is merged, measured and written."""
    write_texts(folder / "texts")
    write_conversations(folder / "talk.jsonl")
    steps: dict[str, dict[str, Any]] = {
        "corpus": {"room": "collect", "sources": [str(folder / "texts")], "heldout_share": 0.2},
        "tokenizer": {"room": "tokenize", "corpus": "corpus", **TOKENIZE},
        "base": {"room": "pretrain", "corpus": "corpus", "tokenizer": "tokenizer", **PRETRAIN},
        "tuned": {"room": "finetune", "model": "base", "data": str(folder / "talk.jsonl"), "tune": "lora", **FINETUNE},
        "chat": {"room": "merge", "adapter": "tuned"},
        "ledger": {"room": "evaluate", "model": "chat", "before": "base", "corpus": "corpus", **EVALUATE},
        "gguf": {"room": "quantize", "model": "chat", "corpus": "corpus", **QUANTIZE},
    }
    for name, values in changes.items():
        steps[name] |= values
    path = folder / "toy.yaml"
    path.write_text(yaml.safe_dump({"out": str(folder / "runs" / "toy"), "steps": steps}, sort_keys=False), "utf-8")
    return path


def stages_of(out: str) -> list[tuple[str, str, str]]:
    """(mark, step, stage) of every line that is one."""
    lines = [line.split() for line in out.splitlines() if line[:1] in ("✓", "✗", "–")]
    return [(words[0], words[1], words[2]) for words in lines]


TRAINED = ["train", "resume", "reload"]
WHOLE = [
    ("corpus", "collect"),
    ("tokenizer", "tokenize"),
    *(("base", stage) for stage in TRAINED),
    ("tuned-data", "collect"),
    *(("tuned", stage) for stage in TRAINED),
    ("chat", "merge"),
    ("chat", "reload"),
    ("ledger", "evaluate"),
    ("gguf", "quantize"),
    ("gguf", "reload"),
    ("chat", "request"),
]


def test_a_recipe(tmp_path: Path, command: Command) -> None:
    recipe = write_recipe(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    answer = command("rehearse", recipe)
    assert (answer.code, answer.err) == (0, ""), answer.out
    assert stages_of(answer.out) == [("✓", *stage) for stage in WHOLE]
    assert "killed after step 2 and taken up again, the same bits" in answer.out
    assert "POST /v1/chat/completions: 200" in answer.out
    table = answer.out[answer.out.index("\nstep ") + 1 :].splitlines()
    assert [line.split()[0] for line in table[1:4]] == ["base", "tuned", "in"]
    assert answer.out.rstrip().endswith("Nothing would go wrong that a rehearsal can see.")
    assert sorted(tmp_path.rglob("*")) == before


def test_what_is_already_made_is_not_rehearsed_again(tmp_path: Path, command: Command) -> None:
    recipe = write_recipe(tmp_path)
    run_recipe(recipe, {})
    answer = command("rehearse", recipe, "tuned.lora.rank=2", "--keep")
    assert answer.code == 0, answer.out
    made = {("corpus", "collect"), ("tokenizer", "tokenize"), ("base", "pretrain"), ("tuned-data", "collect")}
    assert {stage[1:] for stage in stages_of(answer.out) if stage[0] == "–"} == made
    assert ("✓", "tuned", "train") in stages_of(answer.out) and ("✓", "base", "train") not in stages_of(answer.out)
    kept = next(line.removeprefix("Kept: ") for line in answer.out.splitlines() if line.startswith("Kept: "))
    assert (Path(kept) / "steps" / "tuned" / "adapter_config.json").exists()
    again = command("rehearse", recipe)
    assert again.code == 0 and {mark for mark, *_ in stages_of(again.out)} == {"–"}


def test_a_command_goes_on_to_the_http_request(life, tmp_path: Path, command: Command) -> None:
    inputs = [f"model={life.base.path}", f"data={life.talk}", f"out={tmp_path / 'runs' / 'adapter'}"]
    answer = command("rehearse", "finetune", *inputs, "tune=lora", *words_of(FINETUNE))
    assert (answer.code, answer.err) == (0, ""), answer.out
    tuned = [*TRAINED, "merge", "evaluate", "export", "request"]
    assert stages_of(answer.out) == [
        ("✓", "adapter-data", "collect"),
        *(("✓", "adapter", stage) for stage in tuned),
    ]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("objective", ["masked", "span_corruption"])
def test_what_does_not_continue_text_is_not_asked_to(life, tmp_path: Path, command: Command, objective: str) -> None:
    words = [f"corpus={life.corpus.path}", f"tokenizer={life.tokenizer.path}", f"out={tmp_path / 'other'}"]
    options = {name: PRETRAIN[name] for name in ("model", "train")}
    answer = command("rehearse", "pretrain", *words, f"objective={objective}", *words_of(options))
    assert answer.code == 0, answer.out
    assert [stage for stage in stages_of(answer.out) if stage[0] == "–"] == [
        ("–", "other", "evaluate"),
        ("–", "other", "request"),
    ]
    assert ("✓", "other", "export") in stages_of(answer.out)
    assert "note:" not in answer.out


def test_a_teacher_is_asked_about_few(life, tmp_path: Path, command: Command) -> None:
    inputs = [f"model={life.base.path}", f"data={life.questions.path}", f"teacher={life.chat.path}"]
    answer = command("rehearse", "finetune", *inputs, f"out={tmp_path / 'pupil'}", *words_of(FINETUNE))
    assert answer.code == 0, answer.out
    assert ("✓", "pupil", "resume") in stages_of(answer.out)
    assert ("–", "pupil", "merge") in stages_of(answer.out)


def test_a_draft_is_taught_by_few_answers(life, tmp_path: Path, command: Command) -> None:
    base = make(
        "pretrain",
        {
            "corpus": str(life.corpus.path),
            "tokenizer": str(life.tokenizer.path),
            **PRETRAIN,
            "model": {"depth": 2, "width": 64, "context": 96},
        },
        tmp_path / "base",
    )
    inputs = [f"model={base.path}", f"data={life.questions.path}", f"out={tmp_path / 'draft'}"]
    options = words_of({"method": "draft", "train": FINETUNE["train"], "draft": {"reply_tokens": 8}})
    answer = command("rehearse", "finetune", *inputs, *options)
    assert answer.code == 0, answer.out
    assert ("✓", "draft", "resume") in stages_of(answer.out) and "note:" not in answer.out


def test_ctrl_c_leaves_nothing_behind(tmp_path: Path) -> None:
    recipe = write_recipe(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    process = subprocess.Popen(
        [sys.executable, "-m", "hanlin.cli", "rehearse", str(recipe)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,  # as a shell does: Ctrl-C reaches all of its processes
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a job in the background ignores it
    )
    assert process.stdout is not None
    assert any("tokenizer" in line for line in iter(process.stdout.readline, ""))
    os.killpg(process.pid, signal.SIGINT)
    _, complaints = process.communicate(timeout=60)
    assert (process.returncode, complaints) == (130, "Stopped.\n")
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        (["base.model.deepth=3"], ['pretrain has no option "model.deepth"']),
        (["tuned.lora.rnk=3"], ['finetune has no option "lora.rnk"']),
        (["basis.train.steps=3"], ['has no step "basis"']),
    ],
)
def test_a_misspelt_option_is_said_before_anything_runs(
    tmp_path: Path, command: Command, words: list[str], parts: list[str]
) -> None:
    recipe = write_recipe(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    assert_four_lines(command("rehearse", recipe, *words), *parts)
    assert sorted(tmp_path.rglob("*")) == before


def test_what_the_real_run_would_refuse_after_hours(tmp_path: Path, command: Command) -> None:
    """The steps before it and beside it are rehearsed all the same, and all that is wrong is said at once."""
    recipe = write_recipe(tmp_path, tuned={"tune": "full", "frozen_layers": 5})
    answer = command("rehearse", recipe)
    assert (answer.code, answer.err) == (1, "")
    stages = stages_of(answer.out)
    assert ("✓", "base", "resume") in stages and ("✗", "tuned", "train") in stages
    assert [stage[1:] for stage in stages if stage[0] == "–"] == [
        ("chat", "merge"),
        ("ledger", "evaluate"),
        ("gguf", "quantize"),
    ]
    wrong = answer.out[answer.out.index("✗") :].splitlines()
    assert "frozen_layers=5: the model has 1 blocks." in wrong[0]
    assert [line.split(":")[0].strip() for line in wrong[1:4]] == ["expected", "do", "more"]
    assert answer.out.rstrip().endswith("Would go wrong: tuned: train.")


def test_a_folder_that_is_taken(life, command: Command) -> None:
    """A single command never writes over what is there; the rest is rehearsed all the same."""
    inputs = [f"model={life.base.path}", f"data={life.questions.path}", f"out={life.chat.path}"]
    answer = command("rehearse", "finetune", *inputs, *words_of({**FINETUNE, "sample_tokens": 3}))
    assert answer.code == 1 and f"{life.chat.path} already holds a model" in answer.out
    assert [stage for mark, _, stage in stages_of(answer.out) if mark == "✗"] == ["place"]
    assert ("✓", life.chat.path.name, "request") in stages_of(answer.out)


real_step = work.make_step


def die_while_training(room: str, *arguments: Any) -> Any:
    """What Linux does to a process when memory runs out."""
    if room == "pretrain":
        os.kill(os.getpid(), signal.SIGKILL)
    return real_step(room, *arguments)


def test_a_step_that_memory_does_not_suffice_for(
    tmp_path: Path, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(work, "make_step", die_while_training)
    answer = command("rehearse", write_recipe(tmp_path))
    assert answer.code == 1
    assert [stage for stage in stages_of(answer.out) if stage[0] == "✗"] == [("✗", "base", "train")]
    assert "The system killed it (signal 9), as it does when memory runs out" in answer.out
    assert "train.micro_rows=1" in answer.out


def test_one_process(life, command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("hanlin.cli._end_at_once", lambda code: None)
        assert_four_lines(command("rehearse", "demo"), "one process")
