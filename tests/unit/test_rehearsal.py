"""A rehearsal's parts: processes that may die, samples that keep the longest, estimates that add up."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest
from toy import write_conversations, write_texts

from hanlin.core.run.artifact import open_artifact
from hanlin.core.run.errors import HanlinError
from hanlin.core.run.events import EVENTS_FILE
from hanlin.core.run.machine import memory_bytes
from hanlin.core.run.recipe import Step
from hanlin.core.text.documents import Row, count_rows, read_rows, write_rows
from hanlin.rehearsal import sample
from hanlin.rehearsal.apart import apart, peak_bytes
from hanlin.rehearsal.estimate import (
    WHOLE,
    Estimate,
    Pace,
    Scale,
    disk_bytes,
    epochs,
    read_pace,
    sizes,
    table,
    tokens_and_seconds,
    tokens_per_step,
)
from hanlin.rehearsal.inputs import scaled
from hanlin.rehearsal.plan import plan_of, real_options, small
from hanlin.rehearsal.sample import sample_corpus
from hanlin.rehearsal.stages import Stages
from hanlin.rehearsal.training import Training, refuse_full_disk
from hanlin.rehearsal.view import View
from hanlin.rehearsal.work import Made, collect, learn_tokenizer
from hanlin.rooms import ROOMS
from hanlin.workflow import make


@pytest.fixture(autouse=True)
def one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the processes too: they are copies of one that starts here or in the flows."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


# What runs in a process of its own.


def hold(megabytes: int) -> int:
    held = bytearray(os.urandom(1)) * (megabytes * 2**20)
    return len(held)


def refuse() -> None:
    raise HanlinError("No.", "yes", "ask again")


def be_wrong() -> None:
    raise KeyError("a fault")


def be_killed() -> None:
    print("before the end", flush=True)
    time.sleep(0.3)
    os.kill(os.getpid(), signal.SIGKILL)


def end_at_once() -> None:
    os.write(2, b"something native broke\n")
    os._exit(7)


def ask_for_too_much() -> None:
    import torch

    torch.empty(2**50)


def test_a_value_comes_back_with_what_it_cost(tmp_path: Path) -> None:
    small_one, large = (apart(hold, size, output=tmp_path / "output.txt") for size in (1, 300))
    assert (small_one.value, small_one.error, small_one.killed) == (2**20, "", False)
    assert large.value == 300 * 2**20
    assert 250 * 2**20 < large.peak_bytes - small_one.peak_bytes < 350 * 2**20
    assert memory_bytes() > large.peak_bytes and peak_bytes() > 2**20


@pytest.mark.parametrize(
    ("function", "first", "do"),
    [
        (refuse, "No.", "ask again"),
        (be_wrong, "KeyError: 'a fault'", "--keep"),
        (end_at_once, "It died with code 7: something native broke", "--keep"),
        (ask_for_too_much, "Memory ran out", "train.micro_rows=1"),
    ],
)
def test_what_goes_wrong_comes_back_in_four_lines(tmp_path: Path, function: Any, first: str, do: str) -> None:
    ended = apart(function, output=tmp_path / "output.txt")
    lines = ended.error.split("\n")
    assert ended.value is None and not ended.killed and len(lines) == 4
    assert lines[0].startswith(first) and do in lines[2]


def test_a_process_that_the_system_kills_is_said_in_words(tmp_path: Path) -> None:
    ended = apart(be_killed, output=tmp_path / "output.txt")
    assert ended.killed and ended.value is None and ended.peak_bytes > 0
    assert ended.error.startswith("The system killed it (signal 9), as it does when memory runs out: it held ")
    assert len(ended.error.split("\n")) == 4
    assert (tmp_path / "output.txt").read_text() == "before the end\n"


# What is rehearsed.


@pytest.mark.parametrize("name", list(ROOMS))
def test_small_options_are_options(name: str) -> None:
    inputs = dict.fromkeys(ROOMS[name].inputs, "somewhere")
    step = Step(name, ROOMS[name], inputs, ())
    real_options(Step(name, ROOMS[name], small(step, is_compiled=False), ()))


@pytest.mark.parametrize("end", [{"minutes": 60}, {"steps": 9}, {"tokens": 10**6}, {}])
def test_training_is_cut_short_and_nothing_else_changes(end: dict[str, Any]) -> None:
    given = {"batch_rows": 3, "optimizer": "lion", "compile": "on", "keep_last": 2, **end}
    step = Step("chat", ROOMS["finetune"], {"model": "a", "data": "b", "tune": "lora", "train": given}, ())
    real, rehearsed = (real_options(s) for s in (step, Step("chat", step.room, small(step, False), ())))
    changed = {"minutes", "tokens", "steps", "longest_first", "checkpoint_seconds", "compile"}
    assert rehearsed.train.model_dump(exclude=changed) == real.train.model_dump(exclude=changed)
    assert (rehearsed.train.steps, rehearsed.train.compile) == (3, "off") and rehearsed.train.longest_first
    assert small(step, is_compiled=True)["train"].get("compile") == "on"
    assert rehearsed.lora == real.lora and rehearsed.context == real.context


def test_raw_data_becomes_a_step_where_the_real_run_collects_it(tmp_path: Path) -> None:
    talk = write_conversations(tmp_path / "talk.jsonl")
    plan = plan_of("finetune", [f"data={talk}", "model=runs/base", f"out={tmp_path / 'runs' / 'chat'}"])
    collected, chat = plan.steps
    assert collected.values == {"sources": [str(talk)]} and collected.room.name == "collect"
    assert plan.place(collected) == tmp_path / "runs" / "chat-data" and chat.values["data"] == "chat-data"
    assert plan.place(chat) == tmp_path / "runs" / "chat" and plan.eaters("chat-data") == [chat]


@pytest.mark.parametrize(
    ("target", "words", "what", "expected"),
    [
        ("pretran", [], '"pretran" is neither a recipe nor a command.', 'did you mean "pretrain"?'),
        ("nowhere.yaml", [], "nowhere.yaml does not exist.", "a recipe"),
        ("pretrain", ["corpus=x", "model.deepth=3"], 'pretrain has no option "model.deepth".', "model.depth"),
        ("demo", ["base.model.deepth=3"], 'pretrain has no option "model.deepth".', "model.depth"),
        ("finetune", ["data=x"], "finetune needs model=…", "a model"),
    ],
)
def test_what_can_not_be_rehearsed(target: str, words: list[str], what: str, expected: str) -> None:
    with pytest.raises(HanlinError) as raised:
        plan_of(target, words)
    assert raised.value.what == what and expected in raised.value.expected


def test_not_under_torchrun(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(HanlinError, match="one process"):
        plan_of("demo", [])


# What is read.


def chat_corpus(folder: Path, lengths: dict[str, list[int]]) -> Path:
    """A sealed corpus with conversations of these lengths."""
    write_conversations(folder.with_suffix(".jsonl"))
    made = make("collect", {"sources": str(folder.with_suffix(".jsonl")), "heldout_share": 0.3}, folder)
    assert made.manifest is not None
    counts = {"rows": 0, "characters": 0, "heldout_rows": 0, "heldout_characters": 0}
    for split, wanted in lengths.items():
        rows = [
            Row(f"{split}-{n}", messages=({"role": "assistant", "content": "字" * length},))
            for n, length in enumerate(wanted)
        ]
        write_rows(folder / f"{split}.parquet", rows)
        for prefix in ("", "heldout_") if split == "heldout" else ("",):
            counts[f"{prefix}rows"] += len(rows)
            counts[f"{prefix}characters"] += sum(wanted)
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    manifest["metrics"] |= counts
    manifest["files"] = {}
    (folder / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    return folder


def test_a_sample_of_conversations_keeps_the_longest(tmp_path: Path) -> None:
    lengths = [10, 20, 30, *[5] * 40, 90, 80, 7]
    corpus = chat_corpus(tmp_path / "talk", {"train": lengths, "heldout": [3] * 12 + [50]})
    made = sample_corpus(str(corpus), str(tmp_path / "few"), 3, 2, "", "", None)
    kept = [row.characters for row in read_rows(made.path, "train")]
    assert kept == [10, 20, 30, 90, 80]
    assert made.scale == Scale(sum(lengths) / sum(kept), len(lengths) / len(kept))
    assert [row.characters for row in read_rows(made.path, "heldout")] == [3] * 3 + [50]
    assert open_artifact(made.path, ("corpus",)).id != open_artifact(corpus).id
    whole = sample_corpus(str(corpus), str(tmp_path / "all"), 100, 2, "", "", None)
    assert [row.characters for row in read_rows(whole.path, "train")] == lengths and whole.scale == WHOLE
    few_held_out = chat_corpus(tmp_path / "more", {"train": lengths, "heldout": [3]})
    assert sample_corpus(str(few_held_out), str(tmp_path / "none"), 100, 2, "", "", None).path == str(few_held_out)


def test_a_sample_of_documents_is_from_all_over_the_corpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    texts = write_texts(tmp_path / "texts", documents=60)
    corpus = make("collect", {"sources": str(texts), "heldout_share": 0.2}, tmp_path / "corpus")
    monkeypatch.setattr(sample, "TEXT_CHARACTERS", {"train": 1000, "heldout": 300})
    made = sample_corpus(str(corpus.path), str(tmp_path / "few"), 3, 2, "", "", None)
    names, all_names = ([row.id for row in read_rows(path, "train")] for path in (made.path, corpus.path))
    step = -(-len(all_names) // len(names))
    assert names == all_names[::step] and len(names) < len(all_names) / 4
    assert count_rows(made.path, "heldout") < count_rows(corpus, "heldout")
    assert made.scale.rows == len(all_names) / len(names)


def test_a_corpus_whose_tokens_are_made_is_read_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    texts = write_texts(tmp_path / "texts", documents=30)
    corpus = make("collect", {"sources": str(texts)}, tmp_path / "corpus")
    tokenizer = make("tokenize", {"corpus": str(corpus.path), "vocab_size": 300}, tmp_path / "tokenizer")
    monkeypatch.setattr(sample, "TEXT_CHARACTERS", {"train": 100, "heldout": 100})
    made = sample_corpus(str(corpus.path), str(tmp_path / "few"), 3, 2, str(tokenizer.path), "", None)
    assert made.path == str(corpus.path) and not (tmp_path / "few").exists()


def test_how_much_more_the_sources_hold(tmp_path: Path) -> None:
    talk = write_conversations(tmp_path / "talk.jsonl")
    values = {"sources": str(talk), "limit": 4}
    made = collect(values, str(tmp_path / "four"), None, {})
    everything = make("collect", {"sources": str(talk)}, tmp_path / "all")
    assert everything.manifest is not None and made.metrics["rows_read"] == 4
    assert made.scale == Scale(everything.manifest.metrics["characters"] / made.metrics["characters"], 2.0)
    assert collect({**values, "limit": 8}, str(tmp_path / "eight"), 8, {}).scale == WHOLE
    assert collect({**values, "limit": 4}, str(tmp_path / "again"), 6, {}).scale.rows == 1.5


def test_how_much_more_earlier_steps_hold(tmp_path: Path) -> None:
    talk = collect(
        {"sources": str(write_conversations(tmp_path / "t.jsonl")), "limit": 4}, str(tmp_path / "t"), None, {}
    )
    both = collect({"sources": ["talk"], "limit": 100}, str(tmp_path / "both"), None, {"talk": talk})
    assert both.metrics["rows_read"] == 4 and both.scale == Scale(2.0, 2.0)
    unknown = Made(talk.path, talk.kind, talk.metrics, Scale(None, None))
    again = collect({"sources": ["talk"], "limit": 100}, str(tmp_path / "again"), None, {"talk": unknown})
    assert again.scale == Scale(None, None)


def test_a_sample_of_a_sample() -> None:
    made = Made("somewhere", "corpus", {}, Scale(2.0, 3.0))
    assert scaled(made, Scale(5.0, 7.0)).scale == Scale(10.0, 21.0)
    assert scaled(made, Scale(None, None)).scale == Scale(None, None)


def test_a_vocabulary_learned_from_too_little_still_has_the_real_size(tmp_path: Path) -> None:
    from hanlin.core.text.tokenizer import load_tokenizer

    texts = write_texts(tmp_path / "texts", documents=2)
    corpus = make("collect", {"sources": str(texts)}, tmp_path / "corpus")
    values = {"corpus": str(corpus.path), "vocab_size": 3000}
    short = learn_tokenizer(values, str(tmp_path / "short"), {}, is_sample=False)
    learn_tokenizer(values, str(tmp_path / "padded"), {}, is_sample=True)
    plain, padded = (load_tokenizer(tmp_path / name) for name in ("short", "padded"))
    assert plain.vocab_size == short.metrics["vocab_size"] < 3000 == padded.vocab_size
    text = "人民之財產權 rehearsal 2999"
    assert padded.encode(text) == plain.encode(text)


# What it says of the real run.

PACE = Pace(tokens_per_step=400, tokens_per_second=200, peak_share=0.5, ready_seconds=3)


def options(room: str = "pretrain", **values: Any) -> Any:
    inputs = dict.fromkeys(ROOMS[room].inputs, "x")
    return real_options(Step("s", ROOMS[room], {**inputs, **values}, ()))


@pytest.mark.parametrize(
    ("train", "tokens", "seconds"),
    [
        ({"minutes": 2}, 120 * 200, 120),
        ({"steps": 30}, 30 * 100, 30 * 100 / 200),
        ({"tokens": 5000}, 5000, 25),
    ],
)
def test_hours_follow_from_what_ends_the_run(train: dict[str, Any], tokens: float, seconds: float) -> None:
    assert tokens_and_seconds(PACE, options(train=train).train, per_step=100) == (tokens, seconds)


def test_an_average_step_is_no_longest_one() -> None:
    metrics = {"conversations": 50, "trained_tokens_per_epoch": 1000}
    tune = options("finetune", train={"batch_rows": 10})
    assert tokens_per_step(PACE, metrics, tune, WHOLE) == 1000 / 50 * 10
    assert tokens_per_step(PACE, metrics, tune, Scale(2.0, 4.0)) == 1000 / 50 * 10 / 2
    assert tokens_per_step(PACE, metrics, options("finetune", pack=True), WHOLE) == 400
    assert tokens_per_step(PACE, {}, options(), WHOLE) == 400


def test_epochs(tmp_path: Path) -> None:
    assert epochs(3000, 1, {"trained_tokens_per_epoch": 500}, tmp_path, options(), Scale(2.0, 2.0)) == 3
    assert epochs(3000, 1, {"trained_tokens_per_epoch": 500}, tmp_path, options(), Scale(None, None)) is None
    (tmp_path / EVENTS_FILE).write_text('{"event": "model", "windows": 40}\n')
    assert epochs(4000, 400, {}, tmp_path, options(train={"batch_rows": 8}), Scale(0.5, 1)) == 10 * 8 / 20


def test_the_disk_at_its_fullest(tmp_path: Path) -> None:
    (tmp_path / "checkpoint-00000001").mkdir()
    (tmp_path / "checkpoint-00000001" / "a").write_bytes(b"0" * 100)
    (tmp_path / "tokens").mkdir()
    (tmp_path / "tokens" / "a").write_bytes(b"0" * 10)
    (tmp_path / "events.jsonl").write_bytes(b"0" * 7)
    train = options(train={"keep_last": 2, "keep_best": True}).train
    assert disk_bytes(sizes(tmp_path), 1000, train, 3.0) == 100 * 4 + 1000 + 30
    assert sizes(tmp_path / "nowhere") == {}


def test_the_pace_of_a_log(tmp_path: Path) -> None:
    events: list[dict[str, Any]] = [{"event": "ready", "seconds": 2.5}]
    for step, rate in ((1, 90.0), (2, 300.0), (2, 100.0), (3, 110.0)):
        events.append(
            {"event": "step", "step": step, "tokens": 64 * step, "tokens_per_second": rate, "peak_share": rate / 1000}
        )
    (tmp_path / EVENTS_FILE).write_text("".join(json.dumps(event) + "\n" for event in events))
    assert read_pace(tmp_path) == Pace(64, 105.0, pytest.approx(0.105), 2.5)


def test_the_table() -> None:
    base = Estimate("base", 3600 * 5, None, 2e9, 1.5, 2 * 10**9, 0, 3e9, 0.4)
    chat = Estimate("chat", 360, 12.0, 4e5, None, 10**9, 5 * 10**9, 1e9, 0.3)
    head, first, second, whole = table([base, chat])
    assert head.split() == ["step", "hours", "compiling", "tokens", "epochs", "peak", "memory", "disk", "of", "peak"]
    assert first.split() == ["base", "5.00", "2G", "1.50", "2.00", "GB", "3.00", "GB", "40%"]
    assert second.split() == [
        "chat",
        "0.10",
        "12",
        "s",
        "400k",
        "1.00",
        "GB",
        "+",
        "GPU",
        "5.0",
        "GB",
        "1.00",
        "GB",
        "30%",
    ]
    assert whole.split() == ["in", "all", "5.10", "12", "s", "2G", "2.00", "GB", "+", "GPU", "5.0", "GB", "4.00", "GB"]
    assert "compiling" not in table([base])[0] and len(table([base])) == 2


@pytest.fixture
def stages(tmp_path: Path) -> Stages:
    return Stages(View(4), tmp_path / "output.txt")


def test_too_small_a_disk(stages: Stages, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    refuse_full_disk(stages, 1.0, tmp_path / "runs" / "base")
    assert stages.failures == [] and capsys.readouterr().out == ""
    refuse_full_disk(stages, 1e18, tmp_path / "runs" / "base")
    said = capsys.readouterr().out
    assert stages.failures == ["in all: disk"] and "need 1000000000.0 GB at their fullest" in said
    assert "train.keep_last" in said


def test_too_little_memory(stages: Stages, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    step = Step("base", ROOMS["pretrain"], {}, ())
    training = Training(stages, step, {}, tmp_path / "base", {}, WHOLE)
    for peak in (10**6, memory_bytes()):
        training.refuse_too_little(Estimate("base", 1, None, 1, None, peak, 0, 1, 0.4))
    assert stages.failures == ["base: memory"] and "at most 90%" in capsys.readouterr().out


def test_a_note_is_said_once(stages: Stages, capsys: pytest.CaptureFixture[str]) -> None:
    stages.notes(["one", "two", "one"])
    stages.notes(["two", "three"])
    assert capsys.readouterr().out.split() == ["note:", "one", "note:", "two", "note:", "three"]
