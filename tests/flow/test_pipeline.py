"""From a folder of text to an answer, at toy size: every room, the recipe's memory, the ancestry."""

from __future__ import annotations

import json
import os
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
    LAYOUTS,
    PRETRAIN,
    QUANTIZE,
    QUESTIONS,
    TOKENIZE,
    Answer,
    write_conversations,
    write_texts,
)

import hanlin
from hanlin.core.run.artifact import Artifact, lineage, open_artifact, read_manifest
from hanlin.core.run.config import parse_overrides
from hanlin.core.run.errors import HanlinError
from hanlin.core.text.documents import read_rows
from hanlin.workflow import make, run_recipe


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    """The demo's shape at toy size: text and conversations of the user's own."""
    write_texts(tmp_path / "texts")
    write_conversations(tmp_path / "talk.jsonl")
    steps: dict[str, dict[str, Any]] = {
        "corpus": {"room": "collect", "sources": [str(tmp_path / "texts")], "heldout_share": 0.2},
        "tokenizer": {"room": "tokenize", "corpus": "corpus", **TOKENIZE},
        "base": {"room": "pretrain", "corpus": "corpus", "tokenizer": "tokenizer", **PRETRAIN},
        "chat": {"room": "finetune", "model": "base", "data": str(tmp_path / "talk.jsonl"), **FINETUNE},
        "ledger": {"room": "evaluate", "model": "chat", "before": "base", "corpus": "corpus", **EVALUATE},
        "gguf": {"room": "quantize", "model": "chat", "corpus": "corpus", **QUANTIZE},
    }
    path = tmp_path / "toy.yaml"
    path.write_text(yaml.safe_dump({"out": str(tmp_path / "run"), "steps": steps}, sort_keys=False), encoding="utf-8")
    return path


def run(path: Path, *words: str) -> tuple[dict[str, Artifact], list[str]]:
    """(artifacts, the rooms that really worked)."""
    worked: list[str] = []

    def listen(event: dict[str, Any]) -> None:
        if event["event"] == "started":
            worked.append(Path(event["out"]).name.removesuffix(".partial"))

    return run_recipe(path, parse_overrides(words), (listen,)), worked


def test_a_recipe_remembers_what_is_finished(recipe: Path) -> None:
    made, worked = run(recipe)
    steps = ["corpus", "tokenizer", "base", "chat", "ledger", "gguf"]
    assert worked == [*steps[:3], "chat-data", *steps[3:]] and list(made) == steps
    first = {name: artifact.id for name, artifact in made.items()}

    again, worked = run(recipe)
    assert worked == [] and {name: artifact.id for name, artifact in again.items()} == first

    changed, worked = run(recipe, "chat.train.steps=2")
    assert worked == ["chat", "ledger", "gguf"]
    assert changed["base"].id == first["base"] and changed["chat"].id != first["chat"]
    assert read_manifest(changed["chat"].path).metrics["steps"] == 2

    back, worked = run(recipe)
    assert worked == [] and {name: artifact.id for name, artifact in back.items()} == first
    assert read_manifest(back["chat"].path).metrics["steps"] == 4

    forth, worked = run(recipe, "chat.train.steps=2")
    assert worked == [] and forth["chat"].id == changed["chat"].id


def test_raw_data_that_changed_is_collected_again(recipe: Path) -> None:
    first, _ = run(recipe)
    talk = recipe.with_name("talk.jsonl")
    with talk.open("a", encoding="utf-8") as file:
        file.write(json.dumps(LAYOUTS["alpaca"]("新的問題？", "新的回答。"), ensure_ascii=False) + "\n")
    second, worked = run(recipe)
    assert worked == ["chat-data", "chat", "ledger", "gguf"]
    assert second["base"].id == first["base"].id and second["chat"].id != first["chat"].id
    assert "missing" not in json.dumps(list(lineage(second["ledger"].path)))


def test_a_step_of_the_wrong_kind_is_refused_by_name(recipe: Path) -> None:
    with pytest.raises(HanlinError) as raised:
        run(recipe, "chat.model=tokenizer")
    assert "is a tokenizer" in raised.value.what and raised.value.expected == "a model"


def test_a_misspelt_option_of_the_last_step_is_said_before_the_first_runs(recipe: Path) -> None:
    with pytest.raises(HanlinError, match="num_tokens"):
        run(recipe, "gguf.num_token=3")
    assert not recipe.with_name("run").exists()


@pytest.mark.parametrize("layout", list(LAYOUTS))
def test_a_users_own_file_is_given_directly(life, tmp_path: Path, layout: str) -> None:
    """`hanlin finetune data=my.jsonl`: whatever its layout, the same conversations."""
    talk = write_conversations(tmp_path / f"{layout}.jsonl", layout)
    chat = make("finetune", {"model": str(life.base.path), "data": str(talk), **FINETUNE}, tmp_path / "chat")
    data = tmp_path / "chat-data"
    assert open_artifact(data, ("corpus",)).id == chat.manifest.inputs[1]["id"]
    rows = [row for split in ("train", "heldout") for row in read_rows(data, split)]
    assert sorted(tuple(m["content"] for m in row.messages) for row in rows) == sorted(QUESTIONS)


def test_ancestry_goes_down_to_the_hash_of_the_source(life, command: Callable[..., Answer]) -> None:
    ancestors = list(lineage(life.chat.path))
    kinds = [(depth, name, facts["kind"]) for depth, name, facts in ancestors]
    assert kinds == [
        (0, "", "model"),
        (1, "model", "model"),
        (2, "corpus", "corpus"),
        (3, "sources.0", "source"),
        (2, "tokenizer", "tokenizer"),
        (3, "corpus", "corpus"),
        (4, "sources.0", "source"),
        (1, "data", "corpus"),
        (2, "sources.0", "source"),
    ]
    source = ancestors[3][2]
    assert len(source["id"]) == 64 and source["path"] == f"file:{life.texts}"
    printed = command("lineage", life.chat.path)
    assert printed.code == 0 and len(printed.out.splitlines()) == len(kinds)
    assert source["id"][:12] in printed.out and "not found" not in printed.out


def test_generate_and_chat(life, command: Callable[..., Answer]) -> None:
    model = hanlin.load(life.chat.path)
    text = "".join(hanlin.generate(model, "台灣", max_tokens=8, temperature=0))
    printed = command("generate", life.chat.path, "台灣", "max_tokens=8", "temperature=0")
    assert printed.code == 0 and printed.out == f"台灣{text}\n"
    asked = [{"role": "user", "content": "台灣最高的山？"}]
    replies = {"".join(hanlin.chat(model, asked, max_tokens=8, seed=3)) for _ in range(2)}
    assert len(replies) == 1


def test_the_ledger_compares_the_same_targets(life, tmp_path: Path) -> None:
    """Base and chat model differ in their stop token: the loss on replies must count the same tokens for both."""
    from hanlin.core.text.chat import chat_tokenizer
    from hanlin.core.train.conversations import prepare

    rows = list(read_rows(life.questions, "heldout"))
    tokenizers = [hanlin.load(model.path).tokenizer for model in (life.base, life.chat)]
    assert tokenizers[0].eos_token != tokenizers[1].eos_token
    base, chat = (prepare(rows, chat_tokenizer(tokenizer), 96).examples for tokenizer in tokenizers)
    assert base == chat


def test_the_ledger_of_a_model_that_is_compared_with_itself(life, tmp_path: Path) -> None:
    inputs = {"model": life.base, "before": life.base, "data": life.questions, "corpus": life.corpus}
    values = {name: str(artifact.path) for name, artifact in inputs.items()}
    made = make("evaluate", {**values, **EVALUATE}, tmp_path / "ledger")
    columns = json.loads((made.path / "report.json").read_text(encoding="utf-8"))["columns"]
    assert columns[0] == columns[1] and set(columns[0]["figures"]) == {
        "heldout_bpc",
        "reply_loss",
        "stop_rate",
        "repetition_rate",
        "simplified_per_1000",
    }
    assert columns[0]["figures"]["heldout_bpc"] == pytest.approx(life.base.manifest.metrics["heldout_bpc"], rel=1e-4)


def test_what_was_not_held_out_is_not_measured(life, tmp_path: Path) -> None:
    """A figure of nothing would read as a perfect one."""
    everything = make("collect", {"sources": str(life.talk), "heldout_share": 0}, tmp_path / "everything")
    values = {"model": str(life.chat.path), "data": str(everything.path), **EVALUATE}
    with pytest.raises(HanlinError, match="Nothing is held out"):
        make("evaluate", values, tmp_path / "refused")
    made = make("evaluate", {**values, "corpus": str(life.corpus.path)}, tmp_path / "ledger")
    assert "reply_loss" not in made.manifest.metrics and "heldout_bpc" in made.manifest.metrics


def test_conversations_that_begin_with_a_reply_or_a_rule(life, tmp_path: Path) -> None:
    """Exports of chats often do: samples and ledger ask what a user asked, and leave out what nobody asked."""
    turns = [[("gpt", f"您好{n}。"), ("human", "早"), ("gpt", "早安。")] for n in range(4)]
    turns += [[("system", "簡短"), ("human", f"{n}＋1＝？"), ("gpt", f"{n + 1}")] for n in range(4)]
    lines = [{"conversations": [{"from": role, "value": text} for role, text in turn]} for turn in turns]
    talk = tmp_path / "talk.jsonl"
    talk.write_text("\n".join(json.dumps(line, ensure_ascii=False) for line in lines), encoding="utf-8")
    data = make("collect", {"sources": str(talk), "heldout_share": 0.5}, tmp_path / "data")
    options = {**FINETUNE, "num_samples": 8}
    asked: list[str] = []

    def listen(event: dict[str, Any]) -> None:
        if event["event"] == "sample":
            asked.append(event["prompt"])

    chat = make(
        "finetune", {"model": str(life.base.path), "data": str(data.path), **options}, tmp_path / "chat", (listen,)
    )
    assert asked and all(prompt.endswith("＋1＝？") for prompt in asked)
    values = {"model": str(chat.path), "data": str(data.path), **EVALUATE, "num_questions": 8}
    ledger = make("evaluate", values, tmp_path / "ledger")
    column = json.loads((ledger.path / "report.json").read_text(encoding="utf-8"))["columns"][0]
    assert column["samples"] and all(sample["prompt"].endswith("＋1＝？") for sample in column["samples"])


def test_the_command_line_of_a_fresh_process(recipe: Path) -> None:
    """Everything once more as a user types it: one process, all steps, nothing on standard error."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    words = ["run", str(recipe), "gguf.formats=[f16]"]
    done = subprocess.run(
        [sys.executable, "-m", "hanlin.cli", *words], capture_output=True, text=True, env=environment, timeout=300
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert [line.split()[:2] for line in done.stdout.splitlines()[-6:]] == [
        ["corpus", "corpus"],
        ["tokenizer", "tokenizer"],
        ["base", "model"],
        ["chat", "model"],
        ["ledger", "report"],
        ["gguf", "model"],
    ]
    _, worked = run(recipe, "gguf.formats=[f16]")
    assert worked == []
