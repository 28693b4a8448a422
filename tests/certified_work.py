"""Work that a certificate is asked for: a room's run function in small, in a module that new processes can import."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from hanlin.core.run.artifact import write_json
from hanlin.core.run.errors import HanlinError
from hanlin.core.run.events import Emit

STATE_FILE, PID_FILE = "state.json", "pid"


def config(steps: int = 12) -> Any:
    return SimpleNamespace(train=SimpleNamespace(steps=steps))


def exact(config: Any, inputs: Any, out: Path, emit: Emit, remembers: bool = True) -> None:
    """A sum that goes on where it stopped; `remembers`: whether the sum is in the checkpoint too."""
    file = out / STATE_FILE
    state = json.loads(file.read_text()) if file.exists() else {"step": 0, "sum": 1.0, "starts": 0}
    state["starts"] += 1
    total = state["sum"] if remembers else 1.0
    emit("ready")
    for step in range(state["step"] + 1, config.train.steps + 1):
        time.sleep(0.003)
        total = total * 1.1 + 1 / step
        emit("step", step=step, loss=total)
        write_json(file, {**state, "step": step, "sum": total})
    (out / "model.safetensors").write_text(f"{total!r}")


def forgetful(config: Any, inputs: Any, out: Path, emit: Emit) -> None:
    exact(config, inputs, out, emit, remembers=False)


def with_other_weights(config: Any, inputs: Any, out: Path, emit: Emit) -> None:
    exact(config, inputs, out, emit)
    (out / "model.safetensors").write_text(str(json.loads((out / STATE_FILE).read_text())["starts"]))


def quick(config: Any, inputs: Any, out: Path, emit: Emit) -> None:
    """Over before anyone could look."""
    for step in range(1, config.train.steps + 1):
        emit("step", step=step, loss=1.0)
    (out / "model.safetensors").write_text("w")


def refused(config: Any, inputs: Any, out: Path, emit: Emit) -> None:
    raise HanlinError("talk.jsonl:3 is broken.", "JSON", "mend it", "docs/runs.md")


def broken(config: Any, inputs: Any, out: Path, emit: Emit) -> None:
    raise RuntimeError("shapes differ")


def endless(config: Any, inputs: Any, out: Path, emit: Emit) -> None:
    (out / PID_FILE).write_text(str(os.getpid()))
    time.sleep(600)
