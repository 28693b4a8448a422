"""Another program as a process of ours. It ends when we end; when it ends first, what it said last is the reason."""

from __future__ import annotations

import contextlib
import subprocess
import tempfile
from collections.abc import Sequence


class Child:
    """Runs in a session of its own: Ctrl-C is ours, and its replies may end first. What it prints is kept in a file.

    quiet: its standard output says nothing of use and is kept with the rest.
    """

    def __init__(self, command: Sequence[str], quiet: bool = False):
        self._printed = tempfile.TemporaryFile("w+", errors="replace")  # noqa: SIM115
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=self._printed if quiet else subprocess.PIPE,
            stderr=self._printed,
            start_new_session=True,
            text=True,
        )

    @property
    def pid(self) -> int:
        return self._process.pid

    def line(self) -> str:
        """The next line of its standard output; "" when it has ended."""
        assert self._process.stdout is not None
        return self._process.stdout.readline()

    @property
    def has_ended(self) -> bool:
        return self._process.poll() is not None

    def wait(self) -> None:
        """Until it has ended."""
        self._process.wait()

    def last_words(self) -> str:
        """The last line it printed as an error, or its exit code."""
        self._printed.seek(0)
        lines = [line.strip() for line in self._printed if line.strip()]
        return lines[-1][:300] if lines else f"exit code {self._process.poll()}"

    def stop(self) -> None:
        """Ask it to end, and see that it does."""
        self._process.terminate()
        try:
            self._process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()
        self._printed.close()
