"""A fine-tuned adapter by the command line: used with its base, merged, exported, and refused where it does not fit."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from toy import EVALUATE, FINETUNE, Answer, assert_four_lines, words_of

import hanlin
from hanlin.core.run.artifact import read_manifest

IDS = torch.arange(8)[None]


def test_it_is_used_with_its_base(life, command: Callable[..., Answer]) -> None:
    assert read_manifest(life.adapter.path).kind == "adapter"
    answer = command("generate", life.adapter.path, "台灣", "max_tokens=3")
    assert answer.code == 0 and answer.out.startswith("台灣")
    assert not torch.equal(hanlin.load(life.adapter.path)(IDS), hanlin.load(life.base.path)(IDS))


def test_merged_exported_and_evaluated(life, tmp_path: Path, command: Callable[..., Answer]) -> None:
    logits = hanlin.load(life.adapter.path)(IDS)
    assert command("merge", f"adapter={life.adapter.path}", f"out={tmp_path / 'merged'}").code == 0
    assert torch.equal(hanlin.load(tmp_path / "merged")(IDS), logits)
    exported = command("export", life.adapter.path, "--format", "hf", "--dtype", "float32", "--out", tmp_path / "hf")
    assert exported.code == 0
    assert torch.equal(hanlin.load(tmp_path / "hf")(IDS), logits)
    assert (
        command("export", life.adapter.path, "--format", "gguf", "--dtype", "f32", "--out", tmp_path / "f32.gguf").code
        == 0
    )
    torch.testing.assert_close(hanlin.load(tmp_path / "f32.gguf")(IDS), logits, rtol=1e-5, atol=1e-5)
    words = [
        f"model={life.adapter.path}",
        f"before={life.base.path}",
        f"data={life.questions.path}",
        *words_of(EVALUATE),
    ]
    assert command("evaluate", *words, f"out={tmp_path / 'report'}").code == 0


def test_a_folder_without_a_manifest_is_an_adapter_too(life, tmp_path: Path, command: Callable[..., Answer]) -> None:
    """As PEFT writes it."""
    shutil.copytree(life.adapter.path, tmp_path / "peft")
    for name in ("manifest.json", "hanlin_base.json"):
        (tmp_path / "peft" / name).unlink()
    words = [f"adapter={tmp_path / 'peft'}", f"model={life.base.path}", f"out={tmp_path / 'merged'}"]
    assert command("merge", *words).code == 0
    assert torch.equal(hanlin.load(tmp_path / "merged")(IDS), hanlin.load(life.adapter.path)(IDS))


def test_another_base_is_refused(life, tmp_path: Path, command: Callable[..., Answer]) -> None:
    answer = command("merge", f"adapter={life.adapter.path}", f"model={life.chat.path}", f"out={tmp_path / 'merged'}")
    assert_four_lines(answer, "was trained on a base with sha256", str(life.chat.path))


@pytest.mark.parametrize("room", ["quantize", "finetune"])
def test_rooms_that_make_another_model_want_it_merged(
    life, tmp_path: Path, command: Callable[..., Answer], room: str
) -> None:
    words = [f"data={life.questions.path}", *words_of(FINETUNE)] if room == "finetune" else []
    answer = command(room, f"model={life.adapter.path}", *words, f"out={tmp_path / 'out'}")
    assert_four_lines(answer, "is an adapter (made by finetune)")
    assert f"hanlin merge adapter={life.adapter.path}" in answer.err
