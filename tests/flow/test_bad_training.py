"""What can go wrong while training: it stops in four lines, says what to do, and what was good is kept."""

from __future__ import annotations

import shutil
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from toy import FINETUNE, PRETRAIN, TOKENIZE, Answer, assert_four_lines, listening, result_of, words_of, write_texts

import hanlin
from hanlin.core.run.artifact import read_manifest
from hanlin.core.run.errors import HanlinError
from hanlin.core.run.events import EVENTS_FILE, read_events
from hanlin.core.text.chat import chat_tokenizer, render
from hanlin.core.text.documents import read_rows
from hanlin.core.text.tokenizer import load_tokenizer
from hanlin.core.train.checkpoint import checkpoints, read_progress
from hanlin.workflow import make

Command = Callable[..., Answer]
Events = list[dict[str, Any]]


def pretrain_words(life, out: Path, model: dict[str, Any] | None = None, **train: Any) -> list[str]:
    options = {**PRETRAIN, "model": {**PRETRAIN["model"], **(model or {})}, "train": {**PRETRAIN["train"], **train}}
    inputs = [f"corpus={life.corpus.path}", f"tokenizer={life.tokenizer.path}", f"out={out}"]
    return ["pretrain", *inputs, *words_of(options)]


def finetune_words(life, out: Path, values: dict[str, Any] | None = None, **train: Any) -> list[str]:
    options = {**FINETUNE, **(values or {}), "train": {**FINETUNE["train"], **train}}
    inputs = [f"model={life.base.path}", f"data={life.questions.path}", f"out={out}"]
    return ["finetune", *inputs, *words_of(options)]


def events_of(folder: Path, kind: str) -> Events:
    return list(read_events(folder / EVENTS_FILE, kind))


# A learning rate that diverges.


@pytest.mark.parametrize(
    ("rates", "what"),
    [
        ({"matrix_rate": 1e30, "embedding_rate": 1e30}, "gradient's norm is nan"),
        ({"matrix_rate": 3.0, "embedding_rate": 3.0, "optimizer": "sgd"}, "is nan"),
        ({"matrix_rate": 5.0, "embedding_rate": 5.0}, "far above where it began"),
    ],
    ids=["at once", "after some steps", "without a nan"],
)
def test_a_rate_that_diverges_stops_and_keeps_what_was_good(
    life, tmp_path: Path, command: Command, rates: dict[str, Any], what: str
) -> None:
    answer = command(*pretrain_words(life, tmp_path / "base", steps=400, checkpoint_seconds=0, **rates))
    assert_four_lines(answer, what, "documents: text-")
    assert f"lower train.matrix_rate (now {rates['matrix_rate']:g})" in answer.err
    partial = tmp_path / "base.partial"
    losses = {event["step"]: event["loss"] for event in events_of(partial, "step")}
    alert = events_of(partial, "alert")[-1]
    assert (alert["what"], len(alert["rows"])) == ("nan", PRETRAIN["train"]["batch_rows"])
    assert alert["step"] in (len(losses), len(losses) + 1) and f"at step {alert['step']} " in alert["text"]
    (kept,) = checkpoints(partial)
    saved = read_progress(kept).step
    assert f"{kept.name} (step {saved}) is kept" in answer.err
    assert losses[saved] < 2 * losses[1] and not (tmp_path / "base").exists()


def test_adapters_that_diverge_name_their_own_rate(life, tmp_path: Path, command: Command) -> None:
    values = {"tune": "lora", "lora": {"rate": 1e25}}
    answer = command(*finetune_words(life, tmp_path / "chat", values, steps=40))
    assert_four_lines(answer, "is nan at step", "documents: talk.jsonl:")
    assert "lower lora.rate (now 1e+25)" in answer.err and "matrix_rate" not in answer.err


# Rows.


def test_rows_longer_than_the_context_are_counted_and_said(life, tmp_path: Path, command: Command) -> None:
    tokenizer = chat_tokenizer(load_tokenizer(life.base.path))
    rows = [row for row in read_rows(life.questions, "train") if row.messages]
    lengths = sorted(len(render(row.messages, tokenizer).ids) for row in rows)
    context = lengths[-2] - 3  # what the two longest have too much; a row holds one target more
    over = [length - context - 1 for length in lengths if length > context + 1]
    assert command(*finetune_words(life, tmp_path / "chat", {"context": context})).code == 0
    metrics = read_manifest(tmp_path / "chat").metrics
    assert (metrics["cut_rows"], metrics["cut_tokens"]) == (len(over), sum(over)) and len(over) >= 2
    (note,) = events_of(tmp_path / "chat", "note")
    assert f"{len(over)} cut to the context of {context} tokens, {sum(over)} left out" in note["text"]
    card = (tmp_path / "chat" / "README.md").read_text(encoding="utf-8")
    assert f"| cut rows | {len(over)} |" in card and f"| cut tokens | {sum(over)} |" in card


# Models, adapters and teachers that don't fit.


def test_a_model_that_does_not_continue_text_is_not_fine_tuned(life, tmp_path: Path, command: Command) -> None:
    values = {"objective": "masked", "model": {"depth": 1, "context": 48}, "train": {**PRETRAIN["train"], "steps": 1}}
    inputs = {"corpus": str(life.corpus.path), "tokenizer": str(life.tokenizer.path)}
    bert = make("pretrain", {**inputs, **values}, tmp_path / "bert")
    words = finetune_words(life, tmp_path / "chat")
    words[1] = f"model={bert.path}"
    answer = command(*words)
    assert_four_lines(answer, f"{bert.path} is an encoder (bert): it does not continue text")
    assert f"hanlin pretrain base={bert.path} objective=masked" in answer.err
    assert_four_lines(command("export", str(bert.path)), "llama.cpp can't run this model as it is: BertForMaskedLM")


@pytest.mark.parametrize(
    ("values", "part"),
    [
        ({"frozen_layers": 1}, "frozen_layers=1: the model has 1 blocks"),
        ({"tune": "lora", "lora": {"targets": ["q_prj"]}}, 'No matrix of this model is called "q_prj"'),
        ({"teacher": "TEACHER", "distil": {"top_k": 100_000}}, "top_k is 100000; the teacher knows 360 tokens"),
        ({"teacher": "OTHER"}, "The teacher's vocabulary is not the student's"),
    ],
    ids=["frozen", "targets", "top_k", "vocabulary"],
)
def test_options_that_do_not_fit_the_model(
    life, tmp_path: Path, command: Command, values: dict[str, Any], part: str
) -> None:
    if values.get("teacher") == "OTHER":
        corpus = make("collect", {"sources": str(write_texts(tmp_path / "texts", 30))}, tmp_path / "corpus")
        tokenizer = make("tokenize", {"corpus": str(corpus.path), **TOKENIZE, "vocab_size": 380}, tmp_path / "tokens")
        made_of = {"corpus": str(corpus.path), "tokenizer": str(tokenizer.path)}
        values = {"teacher": str(make("pretrain", {**made_of, **PRETRAIN}, tmp_path / "other").path)}
    elif "teacher" in values:
        values = {**values, "teacher": str(life.base.path)}
    assert_four_lines(command(*finetune_words(life, tmp_path / "chat", values)), part)
    assert not (tmp_path / "chat").exists()


def test_an_adapter_whose_base_has_become_another_is_refused(life, tmp_path: Path, command: Command) -> None:
    """The folder is where it was, the weights in it are not."""
    for path in (life.base.path, life.adapter.path):
        shutil.copytree(path, tmp_path / path.name)
    base, adapter = tmp_path / "base", tmp_path / "adapter"
    text = (adapter / "hanlin_base.json").read_text(encoding="utf-8")
    (adapter / "hanlin_base.json").write_text(text.replace(str(life.base.path), str(base)), encoding="utf-8")
    hanlin.load(adapter)
    shutil.rmtree(base)
    assert command(*pretrain_words(life, base, seed=7)).code == 0
    with pytest.raises(HanlinError, match="was trained on a base with sha256"):
        hanlin.load(adapter)
    assert_four_lines(command("generate", adapter, "台灣"), "was trained on a base with sha256", str(base))


def test_a_certificate_of_work_that_is_refused_says_what_the_work_says(life, tmp_path: Path, command: Command) -> None:
    words = [*finetune_words(life, tmp_path / "chat"), "certify=true"]
    words[2] = f"data={life.corpus.path}"
    assert_four_lines(command(*words), f"{life.corpus.path} has no conversations")


# Checkpoints.


def interrupted(command: Command, monkeypatch: pytest.MonkeyPatch, words: list[str], out: Path, step: int = 2) -> Path:
    """The unfinished folder of a run that Ctrl-C stopped after `step` steps."""

    def stop(event: dict[str, Any]) -> None:
        if event["event"] == "step" and event["step"] == step:
            signal.raise_signal(signal.SIGINT)

    with listening(monkeypatch, stop):
        assert command(*words).code == 130
    return out.with_name(out.name + ".partial")


@pytest.mark.parametrize(
    ("other", "part"),
    [
        ({"model": {"hidden": 128}}, "should have shape (192, 64), the checkpoint has it in shape (128, 64)"),
        ({"train": {"optimizer": "adafactor"}}, "the checkpoint lacks it"),
    ],
    ids=["shape", "optimizer"],
)
def test_a_checkpoint_of_another_run_names_the_first_difference(
    life, tmp_path: Path, command: Command, monkeypatch: pytest.MonkeyPatch, other: dict[str, Any], part: str
) -> None:
    words = pretrain_words(life, tmp_path / "base")
    ours = interrupted(command, monkeypatch, words, tmp_path / "base")
    foreign = pretrain_words(life, tmp_path / "other", other.get("model"), **other.get("train", {}))
    theirs = interrupted(command, monkeypatch, foreign, tmp_path / "other")
    (mine,), (wrong,) = checkpoints(ours), checkpoints(theirs)
    shutil.rmtree(mine)
    shutil.copytree(wrong, mine)
    answer = command(*words)
    assert_four_lines(answer, f"{mine} was written for another model: ", "layers.0.", part)
    assert f"remove {mine}: the run then starts again" in answer.err
    shutil.rmtree(mine)
    assert command(*words).code == 0
    assert result_of(tmp_path / "base") == result_of(life.base.path)


@contextmanager
def largest_file(size: int) -> Iterator[Callable[[], None]]:
    """What it gives makes every file that would grow beyond `size` bytes fail, as on a full disk."""
    import resource

    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        yield lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.skipif(sys.platform == "win32", reason="limits on file size exist on POSIX systems alone")
@pytest.mark.parametrize("room", ["pretrain", "finetune"])
def test_a_disk_that_is_full_when_a_checkpoint_is_saved(
    life, tmp_path: Path, command: Command, monkeypatch: pytest.MonkeyPatch, room: str
) -> None:
    """The one before stays, and with space again the same command goes on from it."""
    out = tmp_path / "made"
    make_words = {"pretrain": pretrain_words, "finetune": finetune_words}[room]
    words = make_words(life, out, checkpoint_seconds=0)
    with largest_file(60_000) as full:

        def fill(event: dict[str, Any]) -> None:
            if event["event"] == "step" and event["step"] == 3:
                full()

        with listening(monkeypatch, fill):
            answer = command(*words)
    assert_four_lines(answer, "No disk space left", f"running {room}")
    (kept,) = checkpoints(tmp_path / "made.partial")
    assert read_progress(kept).step == 2 and not out.exists()
    assert command(*words).code == 0
    assert [event["step"] for event in events_of(out, "resumed")] == [2]
    wanted = life.base if room == "pretrain" else life.chat
    (files, figures), (wanted_files, wanted_figures) = result_of(out), result_of(wanted.path)
    assert figures == wanted_figures and files["model.safetensors"] == wanted_files["model.safetensors"]
