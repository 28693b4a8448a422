"""The certificate of resume: a short run of the same work is killed twice, at moments of chance, and taken up again;
its losses and its weights must be those of a run nobody disturbed, to the bit."""

from __future__ import annotations

import multiprocessing
import random
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from hanlin.core.run.artifact import Artifact, hash_file
from hanlin.core.run.errors import HanlinError
from hanlin.core.run.events import EVENTS_FILE, Emit, EventLog, read_events

STEPS = 12
KILLS = 2
PATIENCE_SECONDS = 600.0

Work = Callable[[Any, dict[str, Artifact], Path, Emit], Any]


@dataclass(frozen=True)
class Certificate:
    """What was tried: a run of `steps` steps, killed after these, and the weights' hash that both runs ended with."""

    steps: int
    killed_after_steps: tuple[int, ...]
    weights_sha256: str


def certify(work: Work, config: Any, inputs: Mapping[str, Artifact], folder: Path, emit: Emit) -> dict[str, Any]:
    """Run `work`, a room's run function, in processes of its own, in folders below `folder`, which are removed.

    config: the room's own options but for a short `train` (see `shortened`). Raises HanlinError naming the first step
    that differs.
    """
    shutil.rmtree(folder, ignore_errors=True)
    steps = config.train.steps
    whole, killed = folder / "whole", folder / "killed"
    moments = sorted(random.SystemRandom().sample(range(1, steps), KILLS))
    emit("progress", what="certifying resume", done=0, total=KILLS + 2)
    _run(work, config, inputs, whole, None)
    for number, moment in enumerate([*moments, None], start=1):
        emit("progress", what="certifying resume", done=number, total=KILLS + 2)
        _run(work, config, inputs, killed, moment)
    _compare(whole, killed)
    files = sorted(whole.glob("*.safetensors"))
    certificate = asdict(Certificate(steps, tuple(moments), hash_file(files[0])))
    shutil.rmtree(folder)
    emit("certified", **certificate)
    return certificate


def shortened(config: Any) -> Any:
    """The same work for a few steps with a checkpoint after each."""
    short = {"steps": STEPS, "minutes": None, "tokens": None, "checkpoint_seconds": 0.0}
    return config.model_copy(update={"certify": False, "train": config.train.model_copy(update=short)})


def _run(work: Work, config: Any, inputs: Mapping[str, Artifact], out: Path, kill_after: int | None) -> None:
    out.mkdir(parents=True, exist_ok=True)
    process = multiprocessing.get_context("spawn").Process(target=_child, args=(work, config, dict(inputs), out))
    process.start()
    try:
        if kill_after is not None:
            _kill_when(process, out / EVENTS_FILE, kill_after)
        process.join()
    finally:
        process.kill()
    if kill_after is None and process.exitcode != 0:
        raise HanlinError(
            f"The run that certifies resume ended with code {process.exitcode}.",
            "a run that reaches its end",
            "read what it printed above, or leave certify=true out",
            "docs/training.md#the-certificate",
        )


def _child(work: Work, config: Any, inputs: dict[str, Artifact], out: Path) -> None:
    log = EventLog(out / EVENTS_FILE)
    try:
        work(config, inputs, out, log)
    finally:
        log.close()


def _kill_when(process: BaseProcess, events: Path, step: int) -> None:
    """As soon as the log shows the step, and a moment of chance."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while process.is_alive() and time.monotonic() < deadline:
        if any(event["step"] >= step for event in read_events(events, "step")):
            time.sleep(random.SystemRandom().uniform(0, 0.05))
            process.kill()
            return
        time.sleep(0.005)


def _compare(whole: Path, killed: Path) -> None:
    ours, theirs = ({e["step"]: e["loss"] for e in read_events(f / EVENTS_FILE, "step")} for f in (whole, killed))
    for step, loss in ours.items():
        if theirs.get(step) != loss:
            raise _differs(f"step {step}: loss {loss!r} undisturbed, {theirs.get(step)!r} after the kills")
    for file in sorted(whole.glob("*.safetensors")):
        if not (killed / file.name).exists() or hash_file(killed / file.name) != hash_file(file):
            raise _differs(f"the losses are equal, {file.name} is not")


def _differs(what: str) -> HanlinError:
    return HanlinError(
        f"Resume is not exact on this machine ({what}).",
        "the same bits as a run that nobody disturbed",
        "train.compile=off train.device=cpu is exact; leave certify=true out to train all the same",
        "docs/training.md#the-certificate",
    )
