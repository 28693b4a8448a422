"""Checkpoints: tensors as safetensors, numbers as JSON, written beside and renamed. A kill leaves the last good one."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from hanlin.core.model.checkpoint_files import write_tensors
from hanlin.core.run.artifact import write_json
from hanlin.core.run.errors import HanlinError

PREFIX = "checkpoint-"


@dataclass(frozen=True)
class Progress:
    """Where a run stands: `step` steps are done, after `seconds` of training."""

    step: int
    seconds: float


def save_checkpoint(folder: Path, progress: Progress, tensors: dict[str, torch.Tensor]) -> Path:
    """Write `checkpoint-<step>` whole or not at all, then remove the older ones."""
    target = folder / f"{PREFIX}{progress.step:08d}"
    if target.exists():
        return target
    temporary = folder / f"{PREFIX}new.tmp"
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    write_tensors(temporary / "state.safetensors", {name: tensor.contiguous() for name, tensor in tensors.items()})
    write_json(temporary / "progress.json", asdict(progress))
    os.replace(temporary, target)
    for older in checkpoints(folder)[:-1]:
        shutil.rmtree(older)
    return target


def checkpoints(folder: Path) -> list[Path]:
    """Finished checkpoints, oldest first."""
    return sorted(p for p in folder.glob(PREFIX + "*") if p.is_dir() and not p.name.endswith(".tmp"))


def load_checkpoint(folder: Path) -> tuple[Progress, dict[str, torch.Tensor]] | None:
    """The newest checkpoint, or None. Raises HanlinError when it can't be read."""
    found = checkpoints(folder)
    if not found:
        return None
    path = found[-1]
    try:
        progress = Progress(**json.loads((path / "progress.json").read_text(encoding="utf-8")))
        return progress, load_file(path / "state.safetensors")
    except (OSError, ValueError, TypeError, SafetensorError) as error:
        raise HanlinError(
            f"{path} is not a readable checkpoint ({error}).",
            "a checkpoint this run wrote",
            f"remove {path}: the run then starts again",
            "docs/runs.md#interrupted",
        ) from None


def remove_checkpoints(folder: Path) -> None:
    for path in [*checkpoints(folder), folder / f"{PREFIX}new.tmp"]:
        shutil.rmtree(path, ignore_errors=True)
