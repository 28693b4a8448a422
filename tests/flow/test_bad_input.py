"""Everything that can be wrong from outside: four lines, exit code 2, no traceback, nothing lost."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from toy import (
    FINETUNE,
    PRETRAIN,
    TOKENIZE,
    Answer,
    assert_four_lines,
    result_of,
    words_of,
    write_conversations,
    write_texts,
)

from hanlin.core.run import execute as execution
from hanlin.core.run.artifact import is_artifact, open_artifact
from hanlin.core.run.events import EVENTS_FILE, read_events
from hanlin.workflow import make

Command = Callable[..., Answer]


def pretrain_words(life, out: Path, **train: object) -> list[str]:
    options = {**PRETRAIN, "train": {**PRETRAIN["train"], **train}}
    inputs = [f"corpus={life.corpus.path}", f"tokenizer={life.tokenizer.path}", f"out={out}"]
    return ["pretrain", *inputs, *words_of(options)]


# What the user names does not exist, or is something else.


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        (["collect", "sources=nowhere/"], ["nowhere", "does not exist"]),
        (["collect"], ["collect needs sources="]),
        (["collect", "sources="], ["collect needs sources="]),
        (["collect", "sources=ftp:x"], ['unknown kind of source "ftp:"']),
        (["tokenize", "corpus=nowhere"], ["nowhere does not exist"]),
        (["pretrain", "corpus=", "tokenizer="], ["pretrain needs corpus="]),
        (["finetune", "model=nowhere", "data=nowhere.jsonl"], ["nowhere does not exist"]),
        (["evaluate", "model=nowhere"], ["nowhere does not exist"]),
        (["quantize", "model=nowhere"], ["nowhere does not exist"]),
        (["generate", "nowhere", "台灣"], ["nowhere has no config.json"]),
        (["chat", "nowhere"], ["nowhere has no config.json"]),
        (["lineage", "nowhere"], ["nowhere has no readable manifest.json"]),
        (["run", "nowhere.yaml"], ["nowhere.yaml does not exist"]),
    ],
)
def test_what_does_not_exist(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: Command, words: list[str], parts: list[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert_four_lines(command(*words), *parts)
    assert list(tmp_path.rglob("*")) == []


def test_an_artifact_of_another_kind(life, tmp_path: Path, command: Command) -> None:
    words = [f"corpus={life.tokenizer.path}", f"out={tmp_path / 'tokenizer'}"]
    answer = command("tokenize", *words)
    assert_four_lines(answer, f"{life.tokenizer.path} is a tokenizer")
    assert "expected: a corpus" in answer.err


def test_an_unfinished_artifact_is_named_as_such(life, tmp_path: Path, command: Command) -> None:
    (tmp_path / "base.partial").mkdir()
    answer = command("finetune", f"model={tmp_path / 'base'}", f"data={life.talk}", f"out={tmp_path / 'chat'}")
    assert_four_lines(answer, "does not exist")
    assert "base.partial is unfinished" in answer.err


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        (["pretran"], ["pretran", "Did you mean 'pretrain'?"]),
        (["xyzzy"], ["No such command 'xyzzy'"]),
        (["pretrain", "--depth", "6"], ["--depth"]),
        (["generate"], ["model"]),
        (["demo", "--minutes", "0"], ["--minutes"]),
    ],
)
def test_unknown_commands_and_switches(command: Command, words: list[str], parts: list[str]) -> None:
    assert_four_lines(command(*words), *parts)


@pytest.mark.parametrize(
    ("words", "what", "expected"),
    [
        (["pretrain", "model.deepth=6"], 'no option "model.deepth"', 'did you mean "model.depth"?'),
        (["pretrain", "train.minuets=1"], 'no option "train.minuets"', 'did you mean "train.minutes"?'),
        (["tokenize", "vocabsize=500"], 'no option "vocabsize"', 'did you mean "vocab_size"?'),
        (["collect", "source=x"], 'no option "source"', 'did you mean "sources"?'),
        (["evaluate", "models=x"], 'no option "models"', 'did you mean "model"?'),
        (["tokenize", "vocab_size=12"], 'Option "vocab_size" of tokenize', "260"),
        (["pretrain", "train.minutes=soon"], 'Option "train.minutes"', "number"),
        (["pretrain", "train.minutes=1", "train.steps=3"], "give minutes or steps, not both", "not both"),
        (["pretrain", "train.minutes=null"], "give minutes, steps or tokens", "ends the run"),
        (["pretrain", "train=3", "train.steps=3"], 'Option "train.steps"', "not both"),
        (["pretrain", "depth"], '"depth" is not an option', "name=value"),
    ],
)
def test_options_that_are_none(command: Command, words: list[str], what: str, expected: str) -> None:
    room, *options = words
    given = ["corpus=x", "tokenizer=x"] if room == "pretrain" else []
    given += ["corpus=x"] if room == "tokenize" else ["sources=x"] if room == "collect" else []
    given += ["model=x"] if room == "evaluate" else []
    answer = command(room, *given, *options)
    assert_four_lines(answer, what)
    assert expected in answer.err


def test_sampling_options_of_generate_are_checked(life, command: Command) -> None:
    answer = command("generate", life.chat.path, "台灣", "temprature=1")
    assert_four_lines(answer, 'no option "temprature"')
    assert 'did you mean "temperature"?' in answer.err


def test_an_unknown_room_in_a_recipe_and_in_python(tmp_path: Path, command: Command) -> None:
    recipe = tmp_path / "mine.yaml"
    recipe.write_text("steps: {a: {room: pretrian}}", encoding="utf-8")
    answer = command("run", recipe)
    assert_four_lines(answer, 'there is no room "pretrian"')
    assert 'did you mean "pretrain"?' in answer.err
    with pytest.raises(ValueError, match='no room "colect"'):
        make("colect", {})


def test_a_recipe_that_is_no_yaml(tmp_path: Path, command: Command) -> None:
    recipe = tmp_path / "mine.yaml"
    recipe.write_text("steps:\n  a: {room: collect\n  b: 3\n", encoding="utf-8")
    assert_four_lines(command("run", recipe), f"{recipe}:3")


# Text and conversations that can't be used.


@pytest.mark.parametrize(("name", "content"), [("a.txt", ""), ("a.jsonl", ""), ("a.txt", "短"), ("a.md", " \n\n")])
def test_an_empty_corpus(tmp_path: Path, command: Command, name: str, content: str) -> None:
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / name).write_text(content, encoding="utf-8")
    words = [f"sources={tmp_path / 'texts'}", f"out={tmp_path / 'corpus'}"]
    assert_four_lines(command("collect", *words), "Nothing is left")
    assert not (tmp_path / "corpus").exists()


def test_an_empty_folder(tmp_path: Path, command: Command) -> None:
    (tmp_path / "texts").mkdir()
    words = [f"sources={tmp_path / 'texts'}", f"out={tmp_path / 'corpus'}"]
    assert_four_lines(command("collect", *words), "nothing that can be read")


@pytest.mark.parametrize("room", ["collect", "finetune"])
def test_a_broken_line_names_file_and_line_and_can_be_mended(life, tmp_path: Path, command: Command, room: str) -> None:
    """Also where the file is given to the training room directly."""
    talk = write_conversations(tmp_path / "talk.jsonl")
    good = talk.read_text(encoding="utf-8").splitlines(keepends=True)
    talk.write_text("".join(good[:2]) + '{"messages": [}\n' + "".join(good[2:]), encoding="utf-8")
    words = [room, f"out={tmp_path / 'made'}"]
    if room == "collect":
        words.append(f"sources={talk}")
    else:
        words += [f"model={life.base.path}", f"data={talk}", *words_of(FINETUNE)]
    assert_four_lines(command(*words), f"{talk}, line 3", "broken JSON")
    talk.write_text("".join(good), encoding="utf-8")
    assert command(*words).code == 0


def test_a_conversation_without_a_trained_token_can_be_mended(life, tmp_path: Path, command: Command) -> None:
    """The row passes collect and fails in finetune: its line is named, and the corrected file is taken at once."""
    talk = write_conversations(tmp_path / "talk.jsonl")
    good = talk.read_text(encoding="utf-8")
    long = {"instruction": "很長的問題" * 40, "output": "短"}
    for number in range(12):  # some of them are for training, not held out
        good_and_long = json.dumps({**long, "output": f"短{number}"}, ensure_ascii=False) + "\n"
        talk.write_text(talk.read_text(encoding="utf-8") + good_and_long, encoding="utf-8")
    words = ["finetune", f"model={life.base.path}", f"data={talk}", f"out={tmp_path / 'chat'}", *words_of(FINETUNE)]
    assert_four_lines(command(*words), "talk.jsonl:", "fills the context")
    talk.write_text(good, encoding="utf-8")
    assert command(*words).code == 0


def test_text_where_conversations_are_needed_and_the_reverse(life, tmp_path: Path, command: Command) -> None:
    words = [f"model={life.base.path}", f"data={life.corpus.path}", f"out={tmp_path / 'chat'}"]
    assert_four_lines(command("finetune", *words), "has no conversations")
    words = [f"corpus={life.questions.path}", f"out={tmp_path / 'tokenizer'}"]
    assert_four_lines(command("tokenize", *words), "has no text rows")


def test_a_corpus_shorter_than_one_context(life, tmp_path: Path, command: Command) -> None:
    texts = write_texts(tmp_path / "texts", documents=1)
    words = pretrain_words(life, tmp_path / "base")
    words[1] = f"corpus={texts}"
    answer = command(*words, "model.context=4096")
    assert_four_lines(answer, "tokens; one context is 4096")
    assert "set model.context=" in answer.err
    suggested = answer.err.partition("set model.context=")[2].split()[0]
    assert command(*words, f"model.context={suggested}", "train.batch_rows=2").code == 0


# The disk.


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    """No file may grow beyond `size` bytes: a full disk without a disk."""
    import resource

    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


posix = pytest.mark.skipif(sys.platform == "win32", reason="limits on file size exist on POSIX systems alone")


@posix
@pytest.mark.parametrize(
    ("room", "size"), [("collect", 2000), ("tokenize", 4000), ("pretrain", 100_000), ("finetune", 100_000)]
)
def test_no_space_left_in_the_middle_of_each_room(life, tmp_path: Path, command: Command, room: str, size: int) -> None:
    out = tmp_path / "made"
    words = {
        "collect": ["collect", f"sources={life.texts}", "heldout_share=0.2", f"out={out}"],
        "tokenize": ["tokenize", f"corpus={life.corpus.path}", *words_of(TOKENIZE), f"out={out}"],
        "pretrain": pretrain_words(life, out, checkpoint_seconds=0),
        "finetune": [
            *("finetune", f"model={life.base.path}", f"data={life.questions.path}", f"out={out}"),
            *words_of(FINETUNE),
        ],
    }[room]
    with largest_file(size):
        answer = command(*words)
    assert_four_lines(answer, "No disk space left", f"running {room}")
    assert not out.exists()
    assert command(*words).code == 0 and is_artifact(out)
    whole = {"collect": life.corpus, "tokenize": life.tokenizer, "pretrain": life.base, "finetune": life.chat}[room]
    if room != "pretrain":  # its checkpoint_seconds differs here, and so does its id
        assert open_artifact(out).id == whole.id
    assert result_of(out)[1] == result_of(whole.path)[1]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of two megabytes in memory, where this user may mount one."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = shutil.which("mount")
    done = mount and subprocess.run([mount, "-t", "tmpfs", "-o", "size=2m", "tmpfs", place], capture_output=True)
    if not mount or done.returncode:
        pytest.skip("mounting a small disk in memory needs root on Linux")
    yield place
    subprocess.run(["umount", place], check=True)


def test_a_full_disk_keeps_the_last_good_state(
    life, small_disk: Path, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A checkpoint that no longer fits: the older one stays; with more space the run goes on from it."""
    monkeypatch.setattr(execution, "NEEDED_FREE_BYTES", 0)
    out = small_disk / "base"
    words = pretrain_words(life, out, checkpoint_seconds=0)
    full = small_disk / "filler"
    free = shutil.disk_usage(small_disk).free
    full.write_bytes(b"0" * (free - 1_050_000))
    answer = command(*words)
    assert_four_lines(answer, "No disk space left")
    kept = [path.name for path in (small_disk / "base.partial").glob("checkpoint-0*")]
    assert len(kept) == 1
    full.unlink()
    assert command(*words).code == 0
    resumed = next(read_events(out / EVENTS_FILE, "resumed"))
    assert kept == [f"checkpoint-{resumed['step']:08d}"]
    assert result_of(out)[1] == result_of(life.base.path)[1]


def test_a_nearly_full_disk_is_refused_before_the_work(
    life, tmp_path: Path, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(tmp_path)._replace(free=5 * 2**20)
    monkeypatch.setattr(execution.shutil, "disk_usage", lambda path: usage)
    answer = command("collect", f"sources={life.texts}", f"out={tmp_path / 'corpus'}")
    assert_four_lines(answer, "Only 5 MiB are free")
    assert list(tmp_path.iterdir()) == []


# Artifacts that are not what they were.


@pytest.mark.parametrize("damage", ["changed", "removed"])
def test_a_file_that_does_not_match_its_manifest_is_named(life, tmp_path: Path, command: Command, damage: str) -> None:
    base = tmp_path / "base"
    shutil.copytree(life.base.path, base)
    weights = base / "model.safetensors"
    if damage == "changed":
        data = bytearray(weights.read_bytes())
        data[-1] ^= 1
        weights.write_bytes(data)
    else:
        weights.unlink()
    words = ["finetune", f"model={base}", f"data={life.questions.path}", f"out={tmp_path / 'chat'}"]
    assert_four_lines(command(*words, *words_of(FINETUNE)), f"{weights} is not the file that pretrain wrote")
    assert not (tmp_path / "chat").exists()
    # Also when the damaged artifact is the one that the command would make: it is not taken for finished.
    assert_four_lines(command(*pretrain_words(life, base)), str(weights))


def test_other_options_for_a_finished_folder(life, tmp_path: Path, command: Command) -> None:
    words = [f"sources={life.texts}", f"out={tmp_path / 'corpus'}"]
    assert command("collect", *words).code == 0
    answer = command("collect", *words, "seed=5")
    assert_four_lines(answer, "already holds a corpus made with other options")
    assert "out=" in answer.err


def test_two_runs_in_one_folder(life, tmp_path: Path, command: Command) -> None:
    out = tmp_path / "base"
    words = pretrain_words(life, out, steps=20_000)
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(
        [sys.executable, "-m", "hanlin.cli", *words], stdout=subprocess.DEVNULL, env=environment
    ) as first:
        try:
            log = tmp_path / "base.partial" / EVENTS_FILE
            while first.poll() is None and not any(read_events(log, "step")):
                pass
            assert first.poll() is None
            assert_four_lines(command(*words), "Another run is writing", "base.partial")
            assert first.poll() is None
        finally:
            first.kill()
    assert command(*pretrain_words(life, out)).code == 0  # the lock died with its process


# torch.compile without a compiler, and with one that does not work.


def test_no_compiler(life, tmp_path: Path, command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "empty").mkdir()
    monkeypatch.setenv("PATH", str(tmp_path / "empty"))
    monkeypatch.delenv("CXX", raising=False)
    done = command(*pretrain_words(life, tmp_path / "base", compile="auto"))
    assert (done.code, done.err) == (0, "")
    assert done.out.count("note: No C++ compiler found: training runs without torch.compile") == 1
    assert result_of(tmp_path / "base")[1] == result_of(life.base.path)[1]
    refused = command(*pretrain_words(life, tmp_path / "other", compile="on"))
    assert_four_lines(refused, "compile=on, but there is no C++ compiler")
    assert not (tmp_path / "other").exists()


@posix
@pytest.mark.slow
def test_a_compiler_that_fails(life, tmp_path: Path) -> None:
    """As on a machine without Python's headers. In a process of its own: torch reads CXX once, when it starts."""
    broken = tmp_path / "broken-g++"
    broken.write_text('#!/bin/sh\n[ "$1" = --version ] && exit 0\necho Python.h: No such file >&2\nexit 1\n')
    broken.chmod(0o755)
    cache = str(tmp_path / "cache")
    environment = {**os.environ, "CXX": str(broken), "OMP_NUM_THREADS": "1", "TORCHINDUCTOR_CACHE_DIR": cache}
    words = pretrain_words(life, tmp_path / "base", compile="auto")
    done = subprocess.run(
        [sys.executable, "-m", "hanlin.cli", *words], capture_output=True, text=True, env=environment, timeout=300
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.count("note: torch.compile fails") == 1
    assert result_of(tmp_path / "base")[1] == result_of(life.base.path)[1]


def test_a_fault_of_ours_is_four_lines_too(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*arguments: object, **options: object) -> None:
        raise RuntimeError("first line\nsecond line")

    monkeypatch.setattr("hanlin.workflow.make", fail)
    answer = command("collect", "sources=x")
    assert answer.code == 1 and len(answer.err.splitlines()) == 4
    assert "this is a fault in Hanlin" in answer.err and "--debug" in answer.err
    with pytest.raises(RuntimeError):
        command("collect", "sources=x", "--debug")


def test_no_command_shows_the_help(command: Command) -> None:
    answer = command()
    assert (answer.code, answer.err) == (0, "")
    assert answer.out.startswith("Usage: hanlin ") and "Start with: hanlin" in answer.out
