"""The certificate of resume: a short run of the same work is killed twice, at moments of chance, and taken up again;
its losses and its weights must be those of a run nobody disturbed, to the bit."""

from __future__ import annotations

import json
import multiprocessing
import os
import random
import shutil
import signal
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from hanlin.core.run.artifact import Artifact, hash_file, write_json
from hanlin.core.run.errors import HanlinError
from hanlin.core.run.events import EVENTS_FILE, Emit, Event, EventLog, Listener, read_events
from hanlin.core.run.ranks import world_size

CERTIFICATE_FILE = "certificate.json"
REFUSED_FILE = "refused.json"
"""Where a run that certifies leaves an error that is the user's to mend."""

STEPS = 12
KILLS = 2

KILL = getattr(signal, "SIGKILL", signal.SIGTERM)
MORE = "docs/training.md#the-certificate"

Work = Callable[[Any, dict[str, Artifact], Path, Emit], Any]


@dataclass(frozen=True)
class Certificate:
    """What was tried: a run of `steps` steps, killed after these, and the weights' hash that both runs ended with."""

    steps: int
    killed_after_steps: tuple[int, ...]
    weights_sha256: str


def certify(work: Work, config: Any, inputs: Mapping[str, Artifact], out: Path, emit: Emit) -> dict[str, Any]:
    """Run `work`, a room's run function, in processes of its own, in a folder of `out` which is removed. Made once,
    whatever interrupts the run after it: what `out` has already is given back.

    config: the room's own options but for a short `train` (see `shortened`). Raises HanlinError naming the first step
    that differs, with what `work` raises, and under torchrun.
    """
    kept, folder = out / CERTIFICATE_FILE, out / "certificate"
    if not kept.exists():
        _refuse_many()
        shutil.rmtree(folder, ignore_errors=True)
        certificate = asdict(_try(work, config, inputs, folder, emit))
        shutil.rmtree(folder)
        emit("certified", **certificate)
        write_json(kept, certificate)
    return json.loads(kept.read_text(encoding="utf-8"))


def shortened(config: Any) -> Any:
    """The same work for a few steps with a checkpoint after each."""
    short = {"steps": STEPS, "minutes": None, "tokens": None, "checkpoint_seconds": 0.0}
    return config.model_copy(update={"certify": False, "train": config.train.model_copy(update=short)})


def _refuse_many() -> None:
    if world_size() > 1:
        raise HanlinError(
            f"certify=true is for one process; torchrun started {world_size()}.",
            "a certificate made beforehand",
            "the same command with a few train.steps, without torchrun",
            "docs/training.md",
        )


def _try(work: Work, config: Any, inputs: Mapping[str, Artifact], folder: Path, emit: Emit) -> Certificate:
    steps = config.train.steps
    whole, killed = folder / "whole", folder / "killed"
    moments = sorted(random.SystemRandom().sample(range(1, steps), KILLS))
    reached = []
    for number, moment in enumerate([None, *moments, None]):
        emit("progress", what="certifying resume", done=number, total=KILLS + 2)
        out = killed if number else whole
        _run(work, config, inputs, out, moment)
        if moment is not None:
            reached.append(max(event["step"] for event in read_events(out / EVENTS_FILE, "step")))
    _compare(whole, killed)
    return Certificate(steps, tuple(reached), hash_file(_weights(whole)[0]))


def _run(work: Work, config: Any, inputs: Mapping[str, Artifact], out: Path, kill_after: int | None) -> None:
    """In a new process that hears nothing of Ctrl-C and ends when this one does."""
    out.mkdir(parents=True, exist_ok=True)
    said = out.with_suffix(".log")
    process = multiprocessing.get_context("spawn").Process(
        target=run_and_die, args=(work, config, dict(inputs), out, kill_after, said)
    )
    process.start()
    try:
        process.join()
    finally:
        process.kill()
        process.join()
    if (out / REFUSED_FILE).exists():
        raise HanlinError(**json.loads((out / REFUSED_FILE).read_text(encoding="utf-8")))
    if process.exitcode != (0 if kill_after is None else -KILL):
        lines = said.read_text(encoding="utf-8", errors="replace").split("\n") if said.exists() else []
        last = next(filter(None, reversed(lines)), "")[:200]
        raise HanlinError(
            f"The run that certifies resume ended with code {process.exitcode}: {last}",
            "a run that reaches its end, or the moment at which it is killed",
            f"read {said}, or leave certify=true out",
            MORE,
        )


def run_and_die(
    work: Work, config: Any, inputs: dict[str, Artifact], out: Path, kill_after: int | None, said: Path
) -> None:
    """What the new process does. What it prints goes to `said`."""
    printed = os.open(said, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(printed, 1)
    os.dup2(printed, 2)
    if hasattr(os, "setsid"):
        os.setsid()
    threading.Thread(target=_end_with_parent, daemon=True).start()
    log = EventLog(out / EVENTS_FILE, () if kill_after is None else (_killer(kill_after),))
    try:
        work(config, inputs, out, log)
        if kill_after is not None:
            os.kill(os.getpid(), KILL)  # the moment of chance would have come after the end
    except HanlinError as error:
        facts = {"what": error.what, "expected": error.expected, "do": error.do, "more": error.more}
        write_json(out / REFUSED_FILE, facts)
    finally:
        log.close()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def _killer(step: int) -> Listener:
    """Kills this process when the step has been logged and a moment of chance has passed: about as long as a step
    takes, so it may be in the midst of the next one, or of a checkpoint."""
    before = [time.monotonic()]

    def listen(event: Event) -> None:
        if event["event"] not in ("ready", "step"):
            return
        now = time.monotonic()
        if event["event"] == "step" and event["step"] >= step:
            delay = random.SystemRandom().uniform(0, now - before[0])
            threading.Timer(delay, os.kill, (os.getpid(), KILL)).start()
        before[0] = now

    return listen


def _compare(whole: Path, killed: Path) -> None:
    undisturbed = {event["step"]: event["loss"] for event in read_events(whole / EVENTS_FILE, "step")}
    seen: set[int] = set()
    for event in read_events(killed / EVENTS_FILE, "step"):
        step, loss = event["step"], event["loss"]
        seen.add(step)
        if undisturbed.get(step) != loss:
            raise _differs(
                f"step {step}: loss {undisturbed.get(step)!r} undisturbed, {loss!r} in the run that was killed"
            )
    if missing := undisturbed.keys() - seen:
        raise _differs(f"step {min(missing)} is missing in the run that was killed")
    for file in _weights(whole):
        if not (killed / file.name).exists() or hash_file(killed / file.name) != hash_file(file):
            raise _differs(f"the losses are equal, {file.name} is not")


def _weights(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.safetensors"))


def _differs(what: str) -> HanlinError:
    return HanlinError(
        f"Resume is not exact on this machine ({what}).",
        "the same bits as a run that nobody disturbed",
        "train.compile=off train.device=cpu is exact; leave certify=true out to train all the same",
        MORE,
    )
