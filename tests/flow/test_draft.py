"""A draft by the command line: made from a model and its prompts, killed and taken up again, used, and shown."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from toy import FINETUNE, PRETRAIN, Answer, assert_four_lines, listening, result_of, words_of

from hanlin.core.run.artifact import Artifact, read_manifest
from hanlin.core.run.events import EVENTS_FILE, read_events
from hanlin.workflow import make

Command = Callable[..., Answer]

OPTIONS: dict[str, Any] = {
    "method": "draft",
    "train": FINETUNE["train"],
    "distil": {"top_k": 8},
    "draft": {"reply_tokens": 12, "measured_prompts": 2},
}


@pytest.fixture(scope="module")
def base(life: Any, tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    """Three blocks, so that there is something to leave out."""
    values = {**PRETRAIN, "model": {**PRETRAIN["model"], "depth": 3, "width": 64}}
    inputs = {"corpus": str(life.corpus.path), "tokenizer": str(life.tokenizer.path)}
    return make("pretrain", {**inputs, **values}, tmp_path_factory.mktemp("draft") / "base")


@pytest.fixture(scope="module")
def draft(life: Any, base: Artifact) -> Artifact:
    inputs = {"model": str(base.path), "data": str(life.corpus.path)}
    return make("finetune", {**inputs, **OPTIONS}, base.path.with_name("draft"))


def words(life: Any, base: Artifact, out: Path, **values: Any) -> list[str]:
    inputs = [f"model={base.path}", f"data={life.corpus.path}", f"out={out}"]
    return ["finetune", *inputs, *words_of({**OPTIONS, **values})]


def test_it_is_a_small_model_that_knows_how_good_it_is(base: Artifact, draft: Artifact) -> None:
    manifest = read_manifest(draft.path)
    assert (manifest.kind, manifest.method) == ("model", "draft")
    metrics = manifest.metrics
    assert metrics["layers"] == 1 and metrics["parameters"] < metrics["model_parameters"]
    for how in ("greedy", "sampled"):
        assert 0 <= metrics[f"acceptance_{how}"] <= 1 and 1 <= metrics[f"tokens_per_pass_{how}"] <= 5
    assert not list(draft.path.glob("replies*")) and not (draft.path / "teacher").exists()
    assert "A draft that guesses for base" in (draft.path / "README.md").read_text(encoding="utf-8")
    ours, theirs = (load_file(artifact.path / "model.safetensors") for artifact in (draft, base))
    assert torch.equal(ours["model.embed_tokens.weight"], theirs["model.embed_tokens.weight"])
    assert not torch.equal(ours["model.layers.0.mlp.up_proj.weight"], theirs["model.layers.0.mlp.up_proj.weight"])


def test_it_guesses_for_its_model(base: Artifact, draft: Artifact, command: Command) -> None:
    typed = ("generate", base.path, "台灣", "temperature=0", "max_tokens=20")
    guessed = command(*typed, "engine.speculate=draft", f"engine.draft={draft.path}")
    assert (guessed.code, guessed.err) == (0, "")
    assert guessed.out == command(*typed).out
    page = command("show", "speculate", base.path, "台灣", f"engine.draft={draft.path}", "max_tokens=12").out
    assert page.count("the same text") == 3


def test_embeddings_learn_when_they_are_asked_to(life: Any, base: Artifact, tmp_path: Path) -> None:
    inputs = {"model": str(base.path), "data": str(life.corpus.path)}
    taught = make(
        "finetune", {**inputs, **OPTIONS, "draft": {**OPTIONS["draft"], "train_embeddings": True}}, tmp_path / "e"
    )
    ours, theirs = (load_file(artifact.path / "model.safetensors") for artifact in (taught, base))
    assert not torch.equal(ours["model.embed_tokens.weight"], theirs["model.embed_tokens.weight"])


@pytest.mark.parametrize("moment", ["progress", "step"])
def test_killed_and_taken_up_again(
    life: Any,
    base: Artifact,
    draft: Artifact,
    tmp_path: Path,
    command: Command,
    monkeypatch: pytest.MonkeyPatch,
    moment: str,
) -> None:
    """While the model answers, and while the draft learns: the same draft, and no answer is written again."""
    typed, count = words(life, base, tmp_path / "cut"), {"progress": 2, "step": 3}[moment]
    seen: list[str] = []

    class Killed(BaseException):
        """The process ends here: nothing is cleaned up."""

    def kill(event: dict[str, Any]) -> None:
        seen.append(event["event"])
        if event["event"] == moment and seen.count(moment) == count:
            raise Killed

    with listening(monkeypatch, kill), pytest.raises(Killed):
        command(*typed)
    again = command(*typed)
    assert (again.code, again.err) == (0, "")
    assert result_of(tmp_path / "cut")[0]["model.safetensors"] == result_of(draft.path)[0]["model.safetensors"]
    assert result_of(tmp_path / "cut")[1] == result_of(draft.path)[1]
    notes = [e for e in read_events(tmp_path / "cut" / EVENTS_FILE, "progress") if e["what"] == "replies"]
    if moment == "step":
        assert len(notes) == len(
            [e for e in read_events(draft.path / EVENTS_FILE, "progress") if e["what"] == "replies"]
        )


def test_conversations_are_prompts_too(life: Any, tmp_path: Path, base: Artifact) -> None:
    chat = make("finetune", {"model": str(base.path), "data": str(life.questions.path), **FINETUNE}, tmp_path / "chat")
    made = make(
        "finetune", {"model": str(chat.path), "data": str(life.questions.path), **OPTIONS}, tmp_path / "guesser"
    )
    assert made.manifest.metrics["prompts"] > 1


def test_what_makes_no_sense_is_refused(life: Any, base: Artifact, tmp_path: Path, command: Command) -> None:
    answer = command(*words(life, base, tmp_path / "a", teacher=str(base.path)))
    assert_four_lines(answer, "method=draft has no use for teacher=")
    answer = command(*words(life, base, tmp_path / "b", draft={"layers": 3}))
    assert_four_lines(answer, "draft.layers=3: the model has 3 blocks")
    answer = command(*words(life, base, tmp_path / "c", context=16))
    assert_four_lines(answer, "has no prompt that leaves room for a reply")


def test_options_that_mean_nothing_here_are_said(life: Any, base: Artifact, tmp_path: Path) -> None:
    events: list[dict[str, Any]] = []
    inputs = {"model": str(base.path), "data": str(life.corpus.path)}
    make("finetune", {**inputs, **OPTIONS, "tune": "full", "num_samples": 1}, tmp_path / "n", (events.append,))
    notes = [event["text"] for event in events if event["event"] == "note"]
    assert "Not used with method=draft: tune, num_samples." in notes
    events.clear()
    make(
        "finetune",
        {**inputs, "data": str(life.questions.path), **FINETUNE, "draft": {"layers": 1}},
        tmp_path / "s",
        (events.append,),
    )
    assert any("draft" in event["text"] for event in events if event["event"] == "note" and "Not used" in event["text"])
