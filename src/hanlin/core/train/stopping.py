"""How a run stops: by Ctrl-C after the step under way; together, when one of several processes dies."""

from __future__ import annotations

import contextlib
import signal
import threading
import time
import zlib
from collections.abc import Iterator
from pathlib import Path

import torch.distributed as dist

from hanlin.core.run.errors import HanlinError
from hanlin.core.run.ranks import is_first, launch, rank, world_size

LAST_WORDS_SECONDS = 5.0
"""How long the others wait for a reason before they say that there is none."""


@contextlib.contextmanager
def interruptible() -> Iterator[threading.Event]:
    """The first Ctrl-C lets the step end and the checkpoint be written; the second one stops at once."""
    asked = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield asked
        return
    previous, previous_term = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)

    def on_interrupt(number, frame):
        asked.set()
        signal.signal(signal.SIGINT, previous)

    signal.signal(signal.SIGINT, on_interrupt)
    if world_size() > 1:  # torchrun ends the others of a failed process so: what they wait for fails, in words
        signal.signal(signal.SIGTERM, lambda number, frame: None)
    try:
        yield asked
        signal.signal(signal.SIGTERM, previous_term)
    finally:
        signal.signal(signal.SIGINT, previous)


@contextlib.contextmanager
def telling_why(folder: Path) -> Iterator[None]:
    """Around the loop: a process that dies leaves its reason, and the others stop with it instead of a riddle."""
    if is_first():
        _forget_old(folder)
    if world_size() == 1:
        yield
        return
    try:
        yield
    except KeyboardInterrupt:
        raise
    except RuntimeError as error:
        if not _is_about_others(error):
            _leave_reason(folder, error)
            raise
        raise _others_reason(folder, error) from None
    except BaseException as error:
        _leave_reason(folder, error)
        raise
    finally:
        if is_first():
            _forget_old(folder)


def _is_about_others(error: RuntimeError) -> bool:
    """The libraries below have no class of their own for it."""
    words = ("peer", "gloo", "Timed out", "NCCL", "Broken pipe")
    return isinstance(error, dist.DistError) or any(word in str(error) for word in words)


def _this_launch() -> str:
    return f"{zlib.crc32(launch().encode()):x}"


def _reason_file(folder: Path, number: int) -> Path:
    return folder / f".rank-{number}-{_this_launch()}.failed"


def _forget_old(folder: Path) -> None:
    """What earlier launches left: the folder will be sealed."""
    for file in folder.glob(".rank-*.failed"):
        if _this_launch() not in file.name:
            file.unlink(missing_ok=True)


def _leave_reason(folder: Path, error: BaseException) -> None:
    what = error.what if isinstance(error, HanlinError) else f"{type(error).__name__}: {error}"
    with contextlib.suppress(OSError):
        _reason_file(folder, rank()).write_text(next(iter(what.splitlines()), ""), "utf-8")


def _others_reason(folder: Path, error: Exception) -> HanlinError:
    """A process that was killed leaves no reason; one that failed may take a moment to write it."""
    deadline = time.monotonic() + LAST_WORDS_SECONDS
    while time.monotonic() < deadline:
        for number in range(world_size()):
            file = _reason_file(folder, number)
            if number != rank() and file.exists():
                return _stopped(f"Process {number} of {world_size()} stopped: {file.read_text('utf-8')}")
        time.sleep(0.1)
    first = str(error).splitlines()[0][:200]
    return _stopped(
        f"Another of the {world_size()} processes vanished without a word (killed, or out of memory): {first}"
    )


def _stopped(what: str) -> HanlinError:
    return HanlinError(
        what,
        "all processes to reach the end",
        "correct the cause and run the same command again: it goes on from the last checkpoint",
        "docs/scale.md",
    )
