"""A function in a process of its own: its memory is its own to measure, and its death is news instead of an end.

Processes are copies of one that has loaded the libraries (Python's fork server): loaded once, not once a stage.
"""

from __future__ import annotations

import multiprocessing
import os
import re
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.context import BaseContext
from pathlib import Path
from typing import Any

from hanlin.core.run.errors import HanlinError, explain_os_error
from hanlin.core.run.machine import memory_bytes
from hanlin.rooms import ROOMS

PRELOADED = ("hanlin.use.serve.app", "uvicorn", *(f"{room.module}.run" for room in ROOMS.values()))
POLL_SECONDS = 0.1
KILLED_AND_UNTIDY = "ignore::UserWarning:multiprocessing.resource_tracker"
"""At the end Python counts what killed processes did not put away, and warns of it."""

MORE = "docs/rehearse.md#memory"

OUT_OF_MEMORY = re.compile("not enough memory|[Cc]an't allocate memory|Cannot allocate memory")
"""The libraries below raise their plain RuntimeError or OSError."""


@dataclass(frozen=True)
class Ended:
    """What came of it: a value, or the four lines of an error.

    killed: whether signal 9 ended it. peak_bytes: of resident memory, gpu_bytes: allocated at most on a GPU; 0 where
    the system does not say.
    """

    value: Any = None
    error: str = ""
    killed: bool = False
    seconds: float = 0.0
    peak_bytes: int = 0
    gpu_bytes: int = 0


@dataclass(frozen=True)
class _Word:
    """The last thing a process says."""

    value: Any
    error: str
    peak_bytes: int
    gpu_bytes: int


def warm_up() -> None:
    """Begin to load the libraries, while this process goes on."""
    context = _context()
    if context.get_start_method() != "forkserver":
        return
    from multiprocessing import resource_tracker
    from multiprocessing.forkserver import ensure_running

    context.set_forkserver_preload([*PRELOADED])
    before = os.environ.get("PYTHONWARNINGS")
    os.environ["PYTHONWARNINGS"] = ",".join(filter(None, (before, KILLED_AND_UNTIDY)))
    try:
        resource_tracker.ensure_running()  # by itself, because it ends with signals let through
        with _uninterrupted():
            ensure_running()
    finally:
        del os.environ["PYTHONWARNINGS"]
        if before is not None:
            os.environ["PYTHONWARNINGS"] = before


def apart(function: Callable[..., Any], *arguments: Any, output: Path) -> Ended:
    """Call it in a new process, to whose end this waits. What it prints goes to the file `output`."""
    warm_up()
    context: Any = _context()
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_call, args=(theirs, function, arguments, output))
    began = time.monotonic()
    try:
        with _uninterrupted():
            process.start()
        theirs.close()
        word, peak = _listen(ours, process)
        process.join()
    finally:
        if process.pid is not None:
            process.kill()
            process.join()
        ours.close()
    seconds = time.monotonic() - began
    if word is not None:
        peak = max(peak, word.peak_bytes)
        return Ended(word.value, word.error, False, seconds, peak, word.gpu_bytes)
    killed = process.exitcode == -getattr(signal, "SIGKILL", 9)
    return Ended(None, str(_died(process.exitcode, peak, output)), killed, seconds, peak)


def _context() -> BaseContext:
    methods = multiprocessing.get_all_start_methods()
    return multiprocessing.get_context("forkserver" if "forkserver" in methods else "spawn")


@contextmanager
def _uninterrupted() -> Iterator[None]:
    """Ctrl-C waits until the block ends; what is begun inside it never hears of it. It reaches all processes at once,
    and one that is being made would answer with a traceback."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _listen(pipe: Connection, process: Any) -> tuple[_Word | None, int]:
    """(its last word, None where it died without one; the most memory that was seen)."""
    peak = 0
    while not wait([pipe, process.sentinel], timeout=POLL_SECONDS):
        peak = max(peak, peak_bytes(process.pid))
    with suppress(EOFError, OSError):
        if pipe.poll():
            return pipe.recv(), peak
    return None, peak


def _call(pipe: Connection, function: Callable[..., Any], arguments: tuple[Any, ...], output: Path) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches who started this, and that ends it
    _die_first()
    try:
        with output.open("ab") as file:
            os.dup2(file.fileno(), 1)
            os.dup2(file.fileno(), 2)
    except OSError:
        return  # the rehearsal was over before this began
    value, error = None, ""
    try:
        value = function(*arguments)
    except Exception as problem:
        traceback.print_exc()
        error = str(_explain(problem, peak_bytes()))
    pipe.send(_Word(value, error, peak_bytes(), _gpu_bytes()))


def _die_first() -> None:
    """Should memory run out, Linux is asked to end this process and no other."""
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000")


def peak_bytes(pid: int | None = None) -> int:
    """The most resident memory a process has had; of another process only on Linux. 0 where nobody says."""
    with suppress(OSError):
        found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{pid or 'self'}/status").read_text())
        return int(found[1]) * 1024 if found else 0
    if pid is not None or sys.platform == "win32":
        return 0
    import resource

    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024


def _gpu_bytes() -> int:
    torch = sys.modules.get("torch")
    return torch.cuda.max_memory_allocated() if torch is not None and torch.cuda.is_initialized() else 0


def _explain(problem: Exception, peak: int) -> Exception:
    if isinstance(problem, HanlinError):
        return problem
    text = next(iter(str(problem).splitlines()), "") or type(problem).__name__
    if isinstance(problem, MemoryError) or type(problem).__name__ == "OutOfMemoryError" or OUT_OF_MEMORY.search(text):
        return _too_little_memory(f"Memory ran out ({text[:160]})", peak)
    if isinstance(problem, OSError):
        return explain_os_error(problem, "rehearsing")
    return HanlinError(
        f"{type(problem).__name__}: {text}",
        "no such thing; this is a fault in Hanlin",
        "run it again with --keep and report the end of output.txt in the folder that is named",
        "docs/rehearse.md",
    )


def _died(code: int | None, peak: int, output: Path) -> HanlinError:
    if code == -getattr(signal, "SIGKILL", 9):
        return _too_little_memory("The system killed it (signal 9), as it does when memory runs out", peak)
    said = output.read_text(encoding="utf-8", errors="replace").split("\n") if output.exists() else []
    last = next((line.strip()[:160] for line in reversed(said) if line.strip()), "it said nothing")
    return HanlinError(
        f"It died with code {code}: {last}",
        "a process that reaches its end",
        "run it again with --keep and read output.txt in the folder that is named",
        "docs/rehearse.md",
    )


def _too_little_memory(what: str, peak: int) -> HanlinError:
    machine = memory_bytes()
    has = f" of the {machine / 1e9:.1f} GB that are here" if machine else ""
    return HanlinError(
        f"{what}: it held {peak / 1e9:.1f} GB{has}.",
        "a step that fits",
        "train.micro_rows=1, train.recompute=true, a shorter context or a smaller model",
        MORE,
    )
