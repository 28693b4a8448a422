"""Checkpoints: whole or not at all, the newest one counts, the older ones go."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
import torch

from hanlin.core.run.errors import HanlinError
from hanlin.core.train import checkpoint as module
from hanlin.core.train.checkpoint import (
    BEST,
    Progress,
    best_checkpoint,
    checkpoints,
    last_checkpoint,
    load_checkpoint,
    read_progress,
    remove_checkpoints,
    save_checkpoint,
)

SHARD = "shard-00001-model-00001-of-00001.safetensors"


def tensors(value: float) -> dict[str, torch.Tensor]:
    codes = torch.arange(5, dtype=torch.uint8)
    return {"a": torch.full((3, 2), value), "b.T": torch.arange(6.0).view(2, 3).mT + value, "codes": codes}


def empty() -> dict[str, torch.Tensor]:
    return {name: torch.zeros_like(tensor) for name, tensor in tensors(0.0).items()}


def last_step(folder: Path) -> int | None:
    found = last_checkpoint(folder)
    return None if found is None else read_progress(found).step


def test_round_trip(tmp_path: Path) -> None:
    assert last_checkpoint(tmp_path) is None
    progress = Progress(12, 3.0000000000000004, 99, 1.5)
    path = save_checkpoint(tmp_path, progress, tensors(0.1))
    state = empty()
    assert load_checkpoint(path, state) == progress and last_checkpoint(tmp_path) == path
    assert all(torch.equal(state[name], tensor) for name, tensor in tensors(0.1).items())
    assert {file.suffix for file in path.iterdir()} == {".safetensors", ".json"}


def test_the_best_one_is_replaced_and_not_counted_among_the_last(tmp_path: Path) -> None:
    assert best_checkpoint(tmp_path) is None
    for step in (1, 2):
        save_checkpoint(tmp_path, Progress(step, 0.5), tensors(step), name=BEST)
    assert last_checkpoint(tmp_path) is None and read_progress(best_checkpoint(tmp_path)).step == 2


def test_one_of_another_model_names_the_first_difference(tmp_path: Path) -> None:
    path = save_checkpoint(tmp_path, Progress(1, 0.1), tensors(1))
    with pytest.raises(HanlinError, match=r"a should have shape \(4, 2\), the checkpoint has it in shape \(3, 2\)"):
        load_checkpoint(path, {**empty(), "a": torch.zeros(4, 2)})
    with pytest.raises(HanlinError, match=r"new should have shape \(1,\), the checkpoint lacks it"):
        load_checkpoint(path, {**empty(), "new": torch.zeros(1)})


def test_the_newest_counts_and_the_older_ones_are_removed(tmp_path: Path) -> None:
    for step in (9, 10, 11):
        save_checkpoint(tmp_path, Progress(step, 0.5), tensors(step))
    assert [path.name for path in checkpoints(tmp_path)] == ["checkpoint-00000011"]
    assert last_step(tmp_path) == 11


def test_an_older_one_left_behind_by_a_kill_does_no_harm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_checkpoint(tmp_path, Progress(1, 0.1), tensors(1))
    with monkeypatch.context() as patch:
        patch.setattr(module.shutil, "rmtree", lambda *arguments, **options: None)  # killed before the removal
        save_checkpoint(tmp_path, Progress(2, 0.2), tensors(2))
    assert len(checkpoints(tmp_path)) == 2 and last_step(tmp_path) == 2
    save_checkpoint(tmp_path, Progress(3, 0.3), tensors(3))
    assert len(checkpoints(tmp_path)) == 1


@pytest.mark.parametrize("moment", ["distributed_checkpoint.save", "write_json"])
def test_a_write_that_fails_keeps_the_last_good_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    save_checkpoint(tmp_path, Progress(1, 0.1), tensors(1))

    def fail(*arguments, **options):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(f"{module.__name__}.{moment}", fail)
        with pytest.raises(OSError):
            save_checkpoint(tmp_path, Progress(2, 0.2), tensors(2))
    assert last_step(tmp_path) == 1
    save_checkpoint(tmp_path, Progress(2, 0.2), tensors(2))
    assert last_step(tmp_path) == 2
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint-00000002"]


def test_a_torn_temporary_folder_is_ignored(tmp_path: Path) -> None:
    torn = tmp_path / "checkpoint-new.tmp"
    torn.mkdir()
    (torn / SHARD).write_bytes(b"half")
    assert last_checkpoint(tmp_path) is None
    save_checkpoint(tmp_path, Progress(1, 0.1), tensors(1))
    assert last_step(tmp_path) == 1


@pytest.mark.parametrize(
    ("name", "content"),
    [
        (SHARD, b""),
        (SHARD, b"\x08\x00\x00\x00\x00\x00\x00\x00no json!"),
        ("progress.json", b"{"),
        ("progress.json", b'{"steps": 1}'),
        ("progress.json", None),
    ],
)
def test_an_unreadable_one_is_named(tmp_path: Path, name: str, content: bytes | None) -> None:
    path = save_checkpoint(tmp_path, Progress(1, 0.1), tensors(1))
    if content is None:
        (path / name).unlink()
    else:
        (path / name).write_bytes(content)
    with pytest.raises(HanlinError) as raised:
        load_checkpoint(path, empty())
    assert str(path) in raised.value.what and "remove" in raised.value.do
    assert len(str(raised.value).splitlines()) == 4


def test_saving_the_same_step_again_changes_nothing(tmp_path: Path) -> None:
    first = save_checkpoint(tmp_path, Progress(1, 0.1), tensors(1))
    before = (first / SHARD).stat().st_mtime_ns
    assert save_checkpoint(tmp_path, Progress(1, 0.1), tensors(1)) == first
    assert (first / SHARD).stat().st_mtime_ns == before


def test_all_are_removed_at_the_end(tmp_path: Path) -> None:
    save_checkpoint(tmp_path, Progress(1, 0.1), tensors(1))
    (tmp_path / "checkpoint-new.tmp").mkdir()
    (tmp_path / "model.safetensors").write_bytes(b"kept")
    remove_checkpoints(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["model.safetensors"]


@pytest.mark.skipif(sys.platform == "win32", reason="limits on file size exist on POSIX systems alone")
def test_a_full_disk_is_the_systems_own_error(tmp_path: Path) -> None:
    """safetensors reports it as an error of its own: it must arrive as OSError, which is explained in four lines."""
    import resource

    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, before[1]))
    try:
        with pytest.raises(OSError) as raised:
            save_checkpoint(tmp_path, Progress(1, 0.1), {"large": torch.zeros(100_000)})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert raised.value.errno and os.strerror(raised.value.errno) == raised.value.strerror
    assert last_checkpoint(tmp_path) is None
