"""Checkpoints through torch.distributed.checkpoint: every process writes its part, as safetensors, beside the good one;
then the folder is renamed. A kill leaves the last good one, and another number of processes can read it."""

from __future__ import annotations

import json
import os
import shutil
import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
import torch.distributed as dist
import torch.distributed.checkpoint as distributed_checkpoint
from torch.distributed.checkpoint import CheckpointException, HuggingFaceStorageReader, HuggingFaceStorageWriter

from hanlin.core.run.artifact import write_json
from hanlin.core.run.errors import HanlinError
from hanlin.core.run.ranks import is_first

PREFIX, BEST = "checkpoint-", "best"
PROGRESS_FILE = "progress.json"


@dataclass(frozen=True)
class Progress:
    """Where a run stands: `step` steps are done, after `seconds` of training and `tokens` trained tokens.

    best: the lowest held-out loss so far, where one is measured.
    """

    step: int
    seconds: float
    tokens: int = 0
    best: float | None = None


def save_checkpoint(
    folder: Path, progress: Progress, tensors: dict[str, torch.Tensor], keep: int = 1, name: str | None = None
) -> Path:
    """Write `checkpoint-<step>` (or `name`) whole or not at all; keep the last `keep`. Called by all processes."""
    target = folder / (name or f"{PREFIX}{progress.step:08d}")
    if name is None and target.exists():
        return target
    temporary = folder / f"{PREFIX}new.tmp"
    _first_alone(lambda: _empty(temporary))
    with _quiet():
        _as_os_error(
            lambda: distributed_checkpoint.save(
                {key: tensor.detach().contiguous() for key, tensor in tensors.items()},
                storage_writer=HuggingFaceStorageWriter(str(temporary), save_distributed=True),
            )
        )

    def finish() -> None:
        write_json(temporary / PROGRESS_FILE, asdict(progress))
        _sync(temporary)
        if name is not None:
            shutil.rmtree(target, ignore_errors=True)
        os.replace(temporary, target)
        for older in checkpoints(folder)[:-keep]:
            shutil.rmtree(older)

    _first_alone(finish)
    return target


def checkpoints(folder: Path) -> list[Path]:
    """Finished checkpoints, oldest first."""
    return sorted(p for p in folder.glob(PREFIX + "*") if p.is_dir() and not p.name.endswith(".tmp"))


def last_checkpoint(folder: Path) -> Path | None:
    return next(reversed(checkpoints(folder)), None)


def best_checkpoint(folder: Path) -> Path | None:
    return folder / BEST if (folder / BEST).is_dir() else None


def read_progress(path: Path) -> Progress:
    """Raises HanlinError when it can't be read."""
    try:
        return Progress(**json.loads((path / PROGRESS_FILE).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise _unreadable(path, error) from None


def load_checkpoint(path: Path, tensors: dict[str, torch.Tensor]) -> Progress:
    """Fill `tensors` in place from a checkpoint, whichever number of processes wrote it. Raises HanlinError when it
    can't be read, or naming the first tensor that is missing or of another shape."""
    progress = read_progress(path)
    try:
        with _quiet():
            reader = HuggingFaceStorageReader(str(path))
            stored = reader.read_metadata().state_dict_metadata
            for name, tensor in tensors.items():
                found = tuple(getattr(stored[name], "size", ())) if name in stored else None
                if found != tuple(tensor.shape):
                    raise _other_shape(path, name, found, tuple(tensor.shape))
            filled = {name: tensor.contiguous() for name, tensor in tensors.items()}
            distributed_checkpoint.load(filled, storage_reader=reader)
        for name, tensor in tensors.items():
            if not tensor.is_contiguous():
                tensor.copy_(filled[name])
    except HanlinError:
        raise
    except (Exception, CheckpointException) as error:  # its base is BaseException
        raise _unreadable(path, error) from None
    return progress


def remove_checkpoints(folder: Path) -> None:
    if is_first():
        for path in [*checkpoints(folder), folder / BEST, folder / f"{PREFIX}new.tmp"]:
            shutil.rmtree(path, ignore_errors=True)


def _empty(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)


def _first_alone(work: Callable[[], None]) -> None:
    """The first process works, the others wait."""
    if is_first():
        work()
    if dist.is_initialized():
        dist.barrier()


def _sync(folder: Path) -> None:
    for path in folder.iterdir():
        with path.open("rb+") as file:
            os.fsync(file.fileno())


class _quiet(warnings.catch_warnings):
    """The library says at each call that a process is alone."""

    def __enter__(self) -> None:
        super().__enter__()
        warnings.simplefilter("ignore")


def _as_os_error(write: Callable[[], object]) -> None:
    """A full disk arrives wrapped; what a person is told begins with the system's own error."""
    try:
        write()
    except CheckpointException as error:
        failed = [failure for failure, _ in error.failures.values()]
        raise next((f for f in failed if isinstance(f, OSError)), failed[0]) from None


def _unreadable(path: Path, error: BaseException) -> HanlinError:
    first = next(iter(str(error).splitlines()), "") or type(error).__name__
    return HanlinError(
        f"{path} is not a readable checkpoint ({first}).",
        "a checkpoint this run wrote",
        f"remove {path}: the run then starts again",
        "docs/runs.md#interrupted",
    )


def _other_shape(path: Path, name: str, found: tuple[int, ...] | None, wanted: tuple[int, ...]) -> HanlinError:
    has = "lacks it" if found is None else f"has it in shape {found}"
    return HanlinError(
        f"{path} was written for another model: {name} should have shape {wanted}, the checkpoint {has}.",
        "a checkpoint of the same model, optimizer and trained parameters",
        f"remove {path}: the run then starts again",
        "docs/runs.md#interrupted",
    )
