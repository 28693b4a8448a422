"""The anatomy of a checkpoint agrees with the checkpoint."""

from __future__ import annotations

from pathlib import Path

import torch

from hanlin.core.model.anatomy import lines, read_anatomy
from hanlin.core.model.families import qwen3
from hanlin.core.model.pretrained import load_model, save_model


def folder_of(tmp_path: Path, **changes: object) -> Path:
    config = qwen3.new_config(
        vocab_size=97,
        width=32,
        num_layers=4,
        num_heads=4,
        num_kv_heads=2,
        head_width=16,
        hidden=48,
        max_positions=64,
    )
    save_model(tmp_path, qwen3.build({**config, **changes}).to(torch.bfloat16), qwen3)
    return tmp_path


def test_it_counts_what_is_there(tmp_path: Path) -> None:
    anatomy = read_anatomy(folder_of(tmp_path))
    model, _ = load_model(tmp_path)
    assert anatomy.parameters == model.num_parameters()
    assert anatomy.dtype == "bfloat16"
    assert anatomy.file_bytes == (tmp_path / "model.safetensors").stat().st_size
    assert anatomy.context == 64
    assert anatomy.cache_bytes_per_token == 2 * 4 * 2 * 16 * 2, "keys and values, layers, heads, width, two bytes"
    assert anatomy.state_bytes == 0
    assert [(part.name, part.count) for part in anatomy.parts] == [
        ("embed_tokens", 1),
        ("layers.0–3", 4),
        ("norm", 1),
        ("lm_head", 1),
    ]


def test_blocks_that_differ_are_listed_apart(tmp_path: Path) -> None:
    anatomy = read_anatomy(folder_of(tmp_path, use_sliding_window=True, sliding_window=8, max_window_layers=1))
    assert [(part.name, part.count) for part in anatomy.parts[1:3]] == [("layers.0", 1), ("layers.1–3", 3)]
    assert "window 8" in anatomy.parts[2].about and "window" not in anatomy.parts[1].about


def test_a_tied_head_costs_nothing_and_says_so(tmp_path: Path) -> None:
    page = "\n".join(lines(read_anatomy(folder_of(tmp_path))))
    assert "= embed_tokens.weight" in page
    assert "4 heads over 2 key/value heads × 16, Rope θ 10,000" in page
    assert "512 bytes per token; a full context of 64 tokens: 32,768 bytes" in page
