"""`hanlin show model` and `hanlin check model`, as a person types them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from toy import Answer, assert_four_lines

Command = Callable[..., Answer]


def test_the_anatomy_of_a_folder(tiny_model_folder: Path, command: Command) -> None:
    answer = command("show", "model", tiny_model_folder)
    assert answer.code == 0
    assert answer.out.startswith("Qwen3ForCausalLM: ")
    assert "layers.0–1 × 2" in answer.out and "bytes per token" in answer.out


def test_the_anatomy_of_a_gguf_file(tiny_model_folder: Path, tmp_path: Path, command: Command) -> None:
    """The same blocks and parameters; the types of its tensors, the commonest first."""
    file = tmp_path / "tiny.gguf"
    assert command("export", tiny_model_folder, "--dtype", "q8_0", "--out", file).code == 0
    answer = command("show", "model", file)
    folder = command("show", "model", tiny_model_folder).out.splitlines()
    assert answer.code == 0, answer.err
    lines = answer.out.splitlines()
    assert "q8_0 and f32" in lines[1] and lines[1].split(",")[:2] == folder[1].split(",")[:2]
    assert [line for line in lines[2:] if " × " in line] == [line for line in folder[2:] if " × " in line]


def test_our_numbers_beside_transformers(tiny_model_folder: Path, command: Command) -> None:
    answer = command("check", "model", tiny_model_folder)
    assert answer.code == 0, answer.err
    assert "gradient of layers.1.mlp.down_proj.weight" in answer.out
    assert answer.out.splitlines()[-1].startswith("Equal: ")
    assert "gradient" not in command("check", "model", tiny_model_folder, "--no-gradients").out


def test_a_difference_is_named(tiny_model_folder: Path, command: Command) -> None:
    answer = command("check", "model", tiny_model_folder, "--tolerance", "0")
    assert_four_lines(answer, "differs from transformers")
    assert "--tolerance 1e-4" in answer.err
    assert "over the tolerance" in answer.out


def test_what_can_not_be_compared(tiny_model_folder: Path, tmp_path: Path, command: Command) -> None:
    answer = command("check", "model", tmp_path / "nowhere")
    assert_four_lines(answer, "has no config.json")


def test_groups_without_a_word_show_their_help(command: Command) -> None:
    for group in ("show", "check"):
        answer = command(group)
        assert "model" in answer.err and "Traceback" not in answer.err


@pytest.mark.parametrize("words", [("show", "modle", "x"), ("check", "modle", "x")])
def test_a_typo_is_answered(command: Command, words: tuple[str, ...]) -> None:
    assert_four_lines(command(*words), "Did you mean 'model'?")


def test_half_a_character_is_named(tiny_model_folder: Path, command: Command) -> None:
    half = "山".encode()[:2].decode("utf-8", "surrogateescape")  # as Python hands it on
    assert_four_lines(command("generate", tiny_model_folder, f"玉{half}"), "bytes that are no UTF-8")


def test_damage_is_seen(tiny_model_folder: Path, tmp_path: Path, command: Command) -> None:
    for file in tiny_model_folder.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    weights = load_file(tmp_path / "model.safetensors")
    weights["model.norm.weight"] = torch.ones(63)
    save_file(weights, tmp_path / "model.safetensors", metadata={"format": "pt"})
    assert_four_lines(command("check", "model", tmp_path), "has shape (63,), the config says (64,)")
