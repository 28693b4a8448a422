"""A program in a terminal of its own: what a person types goes in, what they would see comes out."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import termios
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\x1b[=>]|\r")
SECONDS = 60
"""The longest wait for anything: a machine may be busy."""


class Terminal:
    """seen: everything shown so far, colours and all."""

    def __init__(self, descriptor: int):
        self._descriptor = descriptor
        self.seen = ""
        self._read_from = 0
        self._bytes = b""

    def type(self, text: str) -> None:
        os.write(self._descriptor, text.encode())

    def look(self) -> None:
        """Wait for anything more."""
        assert self._read(SECONDS), f"nothing more came; seen:\n{self.seen}"

    def wait_for(self, text: str) -> str:
        """Everything since the last wait up to this text, which has to come, as it was shown."""
        end = time.monotonic() + SECONDS
        while (place := self.seen.find(text, self._read_from)) < 0:
            if not self._read(max(0, end - time.monotonic())):
                raise AssertionError(f"{text!r} never came; seen:\n{self.seen[self._read_from :]}")
        place += len(text)
        shown, self._read_from = self.seen[self._read_from : place], place
        return shown

    def _read(self, seconds: float) -> bool:
        """Whether there was something, and not the end."""
        if not select.select([self._descriptor], [], [], seconds)[0]:
            return False
        try:
            self._bytes += os.read(self._descriptor, 65536)
        except OSError:  # so a terminal says that its program has ended
            return False
        self.seen = self._bytes.decode(errors="ignore")
        return True


def plain(shown: str) -> str:
    """Without colours and cursor movements."""
    return ESCAPES.sub("", shown)


@contextmanager
def terminal(command: Sequence[str], folder: Path, **environment: str) -> Iterator[Terminal]:
    """Run a command in a terminal of 200 columns until the block ends; by then it has to end by itself."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 200, 0, 0))
    given = {**os.environ, "TERM": "xterm", "INPUTRC": "/dev/null", **environment}
    # A session of its own with this terminal, so that Ctrl-C reaches the program.
    process = subprocess.Popen(
        command, stdin=theirs, stdout=theirs, stderr=theirs, cwd=folder, env=given, preexec_fn=_own_session
    )
    os.close(theirs)
    try:
        yield Terminal(ours)
        assert process.wait(SECONDS) == 0
    finally:
        process.kill()
        process.wait()
        os.close(ours)


def _own_session() -> None:
    os.setsid()
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
