"""Toy models, texts and conversations, and the command line run inside the test's own process."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from samples import SENTENCES

from hanlin.core.model.decoder import Decoder
from hanlin.core.model.families import qwen3
from hanlin.core.run.events import Event, Listener
from hanlin.core.train.initialise import initialise

VOCAB = 40


def small_decoder(seed: int = 0, vocab_size: int = VOCAB, max_positions: int = 32, num_layers: int = 2) -> Decoder:
    """A decoder of width 32 in float32 whose every matrix is random: no output starts at zero."""
    model = qwen3.build(
        qwen3.new_config(
            vocab_size=vocab_size,
            width=32,
            num_layers=num_layers,
            num_heads=2,
            num_kv_heads=1,
            head_width=16,
            hidden=48,
            max_positions=max_positions,
        )
    )
    initialise(model, seed)
    random = torch.Generator().manual_seed(seed + 1)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 2:
                parameter.add_(torch.empty(parameter.shape).normal_(0, 0.1, generator=random))
    return model


def write_texts(folder: Path, documents: int = 12) -> Path:
    """Text files of a few sentences each, no two equal."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(documents):
        picked = [SENTENCES[(5 * number + step) % len(SENTENCES)] for step in range(6)]
        (folder / f"text-{number:02d}.txt").write_text(f"第{number}篇。" + "".join(picked), encoding="utf-8")
    return folder


QUESTIONS = [
    ("台灣最高的山？", "玉山。"),
    ("雨天要帶什麼？", "帶傘。"),
    ("豆漿店幾點開？", "六點。"),
    ("珍奶一杯多少？", "六十元。"),
    ("什麼時候考試？", "下週。"),
    ("怎麼去左營？", "搭高鐵。"),
    ("檔案放哪裡？", "雲端。"),
    ("誰解釋憲法？", "大法官。"),
]


def alpaca(question: str, answer: str) -> dict[str, Any]:
    return {"instruction": question, "input": "", "output": answer}


def sharegpt(question: str, answer: str) -> dict[str, Any]:
    return {"conversations": [{"from": "human", "value": question}, {"from": "gpt", "value": answer}]}


def messages(question: str, answer: str) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]}


LAYOUTS: dict[str, Callable[[str, str], dict[str, Any]]] = {
    "alpaca": alpaca,
    "sharegpt": sharegpt,
    "messages": messages,
}


def write_conversations(path: Path, layout: str = "messages") -> Path:
    lines = [json.dumps(LAYOUTS[layout](*pair), ensure_ascii=False) for pair in QUESTIONS]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


TOKENIZE = {"vocab_size": 360}
PRETRAIN = {
    "model": {"depth": 1, "context": 96},
    "train": {"steps": 6, "batch_rows": 4, "compile": "off", "dtype": "float32"},
    "sample_prompts": ["台灣"],
    "sample_tokens": 4,
}
FINETUNE = {
    "train": {"steps": 4, "batch_rows": 3, "compile": "off", "dtype": "float32"},
    "sample_tokens": 4,
    "num_samples": 1,
}
EVALUATE = {"num_questions": 2, "reply_tokens": 6, "num_prompts": 2}
QUANTIZE = {"num_tokens": 64, "num_prompts": 1, "reply_tokens": 4}
"""Options that make each room finish in well under a second."""


@dataclass(frozen=True)
class Answer:
    """What a command left behind: its exit code and what it printed."""

    code: int
    out: str
    err: str


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Answer]:
    """`command("pretrain", "corpus=…")`: the command line, in this process, as a shell would see it."""
    from hanlin.cli import main

    def run(*words: object) -> Answer:
        monkeypatch.setattr(sys, "argv", ["hanlin", *map(str, words)])
        capsys.readouterr()
        code: Any = 0
        try:
            main()
        except SystemExit as left:
            code = left.code
        printed = capsys.readouterr()
        return Answer(int(code or 0), printed.out, printed.err)

    return run


def words_of(values: dict[str, Any], prefix: str = "") -> list[str]:
    """Nested options as words of a command: {"train": {"steps": 3}} → ["train.steps=3"]."""
    words = []
    for name, value in values.items():
        if isinstance(value, dict):
            words += words_of(value, f"{prefix}{name}.")
        else:
            words.append(f"{prefix}{name}={json.dumps(value, ensure_ascii=False)}")
    return words


def assert_four_lines(answer: Answer, *parts: str) -> None:
    """Exit code 2 and exactly four lines on standard error, the first of which holds the parts."""
    lines = answer.err.splitlines()
    assert (answer.code, len(lines)) == (2, 4), answer.err
    assert lines[0].startswith("error: ")
    assert [line.split(":")[0].strip() for line in lines[1:]] == ["expected", "do", "more"]
    for part in parts:
        assert part in lines[0], lines[0]


@contextmanager
def listening(monkeypatch: pytest.MonkeyPatch, listener: Listener) -> Iterator[None]:
    """Commands inside the block show their events to `listener` instead of the terminal."""

    @contextmanager
    def view() -> Iterator[Listener]:
        yield listener

    with monkeypatch.context() as patch:
        patch.setattr("hanlin.terminal.terminal_view", view)
        yield


def steps_of(folder: Path) -> dict[int, Event]:
    """The last log entry of each training step."""
    from hanlin.core.run.events import EVENTS_FILE, read_events

    return {event["step"]: event for event in read_events(folder / EVENTS_FILE, "step")}


TIMES = {"seconds", "learning_seconds"}
"""Figures that tell how long something took: they differ between equal runs."""


def result_of(folder: Path) -> tuple[dict[str, str], dict[str, Any]]:
    """(hash of each file, figures) without those that tell a time."""
    from hanlin.core.run.artifact import read_manifest

    manifest = read_manifest(folder)
    files = {name: digest for name, digest in manifest.files.items() if not name.startswith("report.")}
    return files, {name: value for name, value in manifest.metrics.items() if name not in TIMES}
