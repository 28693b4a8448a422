"""Errors a person can act on: what happened, what was expected, what to do, where to read more."""

from __future__ import annotations

import difflib
import errno
from collections.abc import Iterable
from typing import Any


class HanlinError(ValueError):
    """A problem the user can solve. `str(error)` is always four lines.

    what:     what happened, with the number, file and line
    expected: what would have been right
    do:       what to do next, as a command to copy where there is one
    more:     where to read more
    """

    def __init__(self, what: str, expected: str, do: str, more: str = "hanlin --help"):
        self.what, self.expected, self.do, self.more = what, expected, do, more
        super().__init__(f"{what}\n  expected: {expected}\n  do:       {do}\n  more:     {more}")

    def __reduce__(self) -> tuple[Any, ...]:
        """How the error comes back whole from another process."""
        return _again, (type(self), self.what, self.expected, self.do, self.more)


def _again(kind: type[HanlinError], *parts: str) -> HanlinError:
    error = kind.__new__(kind)
    HanlinError.__init__(error, *parts)
    return error


class RequestError(HanlinError):
    """A request asks for what can't be done. The request alone is at fault: a server answers it with a 400."""


class Interrupted(HanlinError):
    """Ctrl-C arrived; what was done so far is kept and the same command continues."""

    def __init__(self, saved: str, command: str = "run the same command again"):
        super().__init__(
            f"Stopped by Ctrl-C. {saved}",
            "a run that is interrupted continues where it stopped",
            command,
            "docs/runs.md#interrupted",
        )


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """' Did you mean "depth"?', or a list of what exists when nothing is near."""
    names = sorted(known)
    near = difflib.get_close_matches(word, names, n=1, cutoff=0.5)
    return f'did you mean "{near[0]}"?' if near else f"one of: {', '.join(names)}"


def explain_os_error(error: OSError, doing: str) -> HanlinError:
    """Turn the operating system's refusal into four lines. A full disk is the common one."""
    place = error.filename or doing
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return HanlinError(
            f"No disk space left while {doing} ({place}).",
            "free space for the step's files; nothing finished was changed",
            "free space (runs/**/.history is safe to delete; keep runs/*.partial), then run the same command again",
            "docs/runs.md#disk",
        )
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return HanlinError(
            f"Not allowed to use {place} while {doing}.",
            "a folder this user may read and write",
            "choose another folder with out=…, or change the folder's permissions",
            "docs/runs.md#disk",
        )
    return HanlinError(
        f"{error.strerror or error} ({place}) while {doing}.",
        "the file or folder to be usable",
        "check the path",
        "docs/runs.md#disk",
    )
