"""Several processes are one: two gloo processes train what one trains, with whole models, shards and divided matrices;
their checkpoints are read by one; one that dies stops the other with a reason."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from toy import PRETRAIN, steps_of, words_of

from hanlin.core.run.artifact import is_artifact
from hanlin.core.run.config import parse_overrides
from hanlin.workflow import make

TWO = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
# SGD: AdamW divides a gradient that is nothing but rounding by its own size, and a step then says nothing of equality.
MODEL = {"width": 128, "kv_heads": 2}
TRAIN = {"steps": 5, "dtype": "float32", "compile": "off", "optimizer": "sgd", "batch_rows": 5, "micro_rows": 2}


def words(life, out: Path, **train: Any) -> list[str]:
    options = {**PRETRAIN, "model": {**PRETRAIN["model"], **MODEL}, "train": {**TRAIN, **train}}
    inputs = [f"corpus={life.corpus.path}", f"tokenizer={life.tokenizer.path}", f"out={out}"]
    return ["pretrain", *inputs, *words_of(options)]


def start(*arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )


def together(life, out: Path, **train: Any) -> str:
    process = start(*TWO, "-m", "hanlin.cli", *words(life, out, **train))
    said, complaints = process.communicate(timeout=300)
    assert process.returncode == 0, complaints
    return said


def difference(one: Path, other: Path) -> float:
    ours, theirs = (load_file(folder / "model.safetensors") for folder in (one, other))
    assert ours.keys() == theirs.keys()
    return max(float((ours[name] - theirs[name]).abs().max()) for name in ours)


@pytest.fixture(scope="module")
def alone(life, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("alone") / "base"
    make("pretrain", parse_overrides(words(life, out)[1:]))
    return out


@pytest.mark.parametrize("options", [{"parallel": "ddp"}, {"parallel": "fsdp"}, {"tensor_parallel": 2}], ids=str)
def test_two_processes_train_what_one_trains(life, alone: Path, tmp_path: Path, options: dict[str, Any]) -> None:
    """An odd number of rows, unequal numbers of trained tokens, accumulated; only the first process speaks."""
    said = together(life, tmp_path / "base", **options)
    assert difference(alone, tmp_path / "base") <= 1e-6
    assert said.count("model: ") == 2  # of the log, and the last line
    ours, theirs = steps_of(tmp_path / "base"), steps_of(alone)
    assert list(ours) == list(theirs)
    for number, event in ours.items():
        for key in ("loss", "norm"):
            assert event[key] == pytest.approx(theirs[number][key], rel=1e-5)
        assert event["tokens"] == theirs[number]["tokens"]


def wait_for_step(number: int, partial: Path, process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 120
    while number not in steps_of(partial) and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    assert process.poll() is None, process.communicate()[1]


def test_checkpoints_of_two_are_read_by_one(life, alone: Path, tmp_path: Path) -> None:
    """Killed after two steps, all at once; the same command in one process goes on where the shards stopped."""
    out = tmp_path / "base"
    command = ["-m", "hanlin.cli", *words(life, out, parallel="fsdp", checkpoint_seconds=0)]
    process = start(*TWO, *command)
    wait_for_step(2, tmp_path / "base.partial", process)
    process.kill()
    for pid in _left(str(out)):
        os.kill(pid, signal.SIGKILL)
    process.communicate(timeout=60)
    process = start(*command)
    _, complaints = process.communicate(timeout=300)
    assert process.returncode == 0, complaints
    assert difference(alone, out) <= 2e-6


def test_a_process_that_dies_stops_the_others(life, tmp_path: Path) -> None:
    out = tmp_path / "base"
    process = start(*TWO, "-m", "hanlin.cli", *words(life, out, steps=100_000))
    wait_for_step(2, tmp_path / "base.partial", process)
    victim = next(pid for pid in _left(str(out)) if _environment(pid).get("RANK") == "1")
    began = time.monotonic()
    os.kill(victim, signal.SIGKILL)
    _, complaints = process.communicate(timeout=60)
    assert process.returncode != 0 and time.monotonic() - began < 60
    assert "vanished without a word" in complaints and "goes on from the last checkpoint" in complaints
    assert not is_artifact(out)


def _left(text: str) -> list[int]:
    """Worker processes (not torchrun itself) whose command line holds the text."""
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                line = (folder / "cmdline").read_bytes().decode().split("\0")
            except OSError:
                continue
            if any(text in word for word in line) and "torch.distributed.run" not in line:
                found.append(int(folder.name))
    return found


def _environment(pid: int) -> dict[str, str]:
    entries = Path(f"/proc/{pid}/environ").read_bytes().decode().split("\0")
    return dict(entry.split("=", 1) for entry in entries if "=" in entry)


def test_threads_that_do_not_divide_are_said(life, tmp_path: Path) -> None:
    process = start(*TWO, "-m", "hanlin.cli", *words(life, tmp_path / "base", tensor_parallel=3))
    _, complaints = process.communicate(timeout=300)
    assert process.returncode != 0 and "tensor_parallel=3 does not divide the 2 processes" in complaints


pytestmark = pytest.mark.skipif(
    not torch.distributed.is_available() or sys.platform != "linux", reason="gloo and /proc"
)
