"""Errors are four lines that a person can act on."""

from __future__ import annotations

import errno
import os

import pytest

from hanlin.core.run.errors import HanlinError, Interrupted, did_you_mean, explain_os_error


def test_four_lines():
    lines = str(HanlinError("What happened.", "what was right", "do this", "docs/x.md")).splitlines()
    assert lines == ["What happened.", "  expected: what was right", "  do:       do this", "  more:     docs/x.md"]
    assert len(str(Interrupted("Step 7 is saved.")).splitlines()) == 4


def test_did_you_mean():
    assert did_you_mean("dept", ["depth", "seed"]) == 'did you mean "depth"?'
    assert did_you_mean("xyz", ["depth", "seed"]) == "one of: depth, seed"


@pytest.mark.parametrize(
    "code, message",
    [
        (errno.ENOSPC, "No disk space left"),
        (errno.EACCES, "Not allowed to use runs/x"),
        (errno.ENOTDIR, "Not a directory"),
    ],
)
def test_the_operating_system_is_explained(code, message):
    explained = explain_os_error(OSError(code, os.strerror(code), "runs/x"), "running collect")
    assert message in str(explained) and len(str(explained).splitlines()) == 4
