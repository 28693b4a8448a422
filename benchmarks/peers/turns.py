"""Peers take turns, each in a process of its own: a slow minute of the machine hits all of them, and the memory of one
is not the other's.

The parent starts a `Peer` per command and asks each for a turn. In the process a `Worker` counts: it is told of every
step that has ended, waits between turns, and answers with one JSON line.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from typing import Any


class Peer:
    """One process that trains. What it prints beside its answers goes to a file, whose last line says why it failed."""

    def __init__(self, command: Sequence[str]):
        self._printed = tempfile.TemporaryFile("w+")  # noqa: SIM115  closed by end()
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._printed, text=True
        )
        self.rates: list[float] = []
        self.total_tokens, self.total_seconds = 0, 0.0
        self.facts: dict[str, Any] = {}
        self.missing: str | None = None
        self._hear()

    def turn(self) -> None:
        """One turn of the peer; nothing where it has failed."""
        if self.missing is None:
            self._say("turn")
            if heard := self._hear():
                self.total_tokens += heard["tokens"]
                self.total_seconds += heard["seconds"]
                self.rates.append(heard["tokens"] / heard["seconds"])

    def end(self) -> dict[str, Any]:
        """The peer's figures, or None and the reason. Rows differ in length, so the rate is that of all turns together;
        the median of the turns stands beside it."""
        if self.missing is None:
            self._say("end")
            self._hear()
        self._process.wait()
        self._printed.close()
        if self.missing is not None or not self.rates:
            return {"tokens_per_second": None, "missing": self.missing or "no turn was asked for"}
        return {
            "tokens_per_second": round(self.total_tokens / self.total_seconds, 1),
            "median_of_turns": round(statistics.median(self.rates), 1),
            **self.facts,
        }

    def _say(self, word: str) -> None:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(word + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            pass  # what it printed last is read next

    def _hear(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if line:
            heard = json.loads(line)
            self.facts |= heard.pop("facts", {})
            return heard
        self._process.wait()
        self._printed.seek(0)
        lines = [text for text in self._printed.read().splitlines() if text.strip()]
        self.missing = lines[-1].strip()[:300] if lines else f"exit code {self._process.returncode}"
        return {}


class Worker:
    """The process's side: `step_ended` after each training step. The first `warm_up` steps are not counted.

    facts: more to be said of the peer, complete by then.
    """

    def __init__(self, seconds: float, warm_up: int, facts: dict[str, Any]):
        self._seconds, self._warm_up = seconds, warm_up
        self._facts = facts
        self._out = os.fdopen(os.dup(1), "w")
        os.dup2(2, 1)  # libraries print as they like
        self._tokens, self._began = 0, time.perf_counter()

    def step_ended(self, tokens: int) -> None:
        """tokens: those of this step's rows, padding not counted."""
        if self._warm_up > 0:
            self._warm_up -= 1
            if self._warm_up == 0:
                self._answer({"facts": self._facts})
            return
        self._tokens += tokens
        seconds = time.perf_counter() - self._began
        if seconds >= self._seconds:
            self._answer({"tokens": self._tokens, "seconds": seconds})

    def _answer(self, values: dict[str, Any]) -> None:
        self._print(values)
        if sys.stdin.readline().strip() != "turn":
            self._print({"facts": {"peak_gigabytes": round(peak_bytes() / 1e9, 2)}})
            os._exit(0)  # in the middle of a training loop that would go on
        self._tokens, self._began = 0, time.perf_counter()

    def _print(self, values: dict[str, Any]) -> None:
        self._out.write(json.dumps(values) + "\n")
        self._out.flush()


def peak_bytes() -> int:
    """The most memory this process has held at once."""
    try:
        with open("/proc/self/status") as status:
            line = next(line for line in status if line.startswith("VmHWM:"))
        return int(line.split()[1]) * 1024
    except (OSError, StopIteration):
        import resource

        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else peak * 1024


def figures(commands: dict[str, Sequence[str]], rounds: int) -> dict[str, dict[str, Any]]:
    """Each command's figures after `rounds` turns, in which they alternate."""
    peers = {name: Peer(command) for name, command in commands.items()}
    for _ in range(rounds):
        for peer in peers.values():
            peer.turn()
    return {name: peer.end() for name, peer in peers.items()}


def ratio(ours: float | None, theirs: float | None) -> float | None:
    return round(ours / theirs, 2) if ours and theirs else None
