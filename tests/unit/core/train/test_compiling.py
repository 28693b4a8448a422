"""torch.compile: used where it works, one line where it does not, an error where it was demanded."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from hanlin.core.run.errors import HanlinError
from hanlin.core.train import compiling as module
from hanlin.core.train.compiling import compiler_name, maybe_compile, training_dtype

Notes = list[str]


def emit_to(notes: Notes) -> Callable[..., None]:
    return lambda kind, **fields: notes.append(fields["text"])


def double(x: int) -> int:
    if x < 0:
        raise ValueError("the function's own mistake")
    return 2 * x


def compiling_with(monkeypatch: pytest.MonkeyPatch, error: Exception | None, calls: list[int]) -> None:
    """A compiler is found; what it makes of a function fails with `error`."""

    def fake(function, dynamic):
        assert dynamic is False

        def compiled(x):
            calls.append(x)
            if error is not None:
                raise error
            return function(x)

        return compiled

    monkeypatch.setattr(module, "compiler_name", lambda: "g++")
    monkeypatch.setattr(torch, "compile", fake)


def test_off_is_the_function_itself() -> None:
    notes: Notes = []
    assert maybe_compile(double, "off", emit_to(notes)) is double and not notes


@pytest.mark.parametrize("wanted", ["auto", "on"])
def test_compiled_where_it_works(monkeypatch: pytest.MonkeyPatch, wanted) -> None:
    calls: list[int] = []
    compiling_with(monkeypatch, None, calls)
    notes: Notes = []
    function = maybe_compile(double, wanted, emit_to(notes))
    assert [function(1), function(2)] == [2, 4] and calls == [1, 2] and not notes


def test_auto_falls_back_once_with_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []
    error = torch._dynamo.exc.TorchDynamoException("\n\nCppCompileError: no Python.h\nmore\nlines")
    compiling_with(monkeypatch, error, calls)
    notes: Notes = []
    function = maybe_compile(double, "auto", emit_to(notes))
    assert [function(1), function(2), function(3)] == [2, 4, 6] and calls == [1]
    assert len(notes) == 1 and "CppCompileError: no Python.h" in notes[0] and "\n" not in notes[0]


def test_on_refuses_a_compiler_that_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    compiling_with(monkeypatch, torch._dynamo.exc.TorchDynamoException("CppCompileError\nmore\nlines"), [])
    with pytest.raises(HanlinError, match=r"torch\.compile fails: CppCompileError") as raised:
        maybe_compile(double, "on", emit_to([]))(1)
    assert len(str(raised.value).splitlines()) == 4


@pytest.mark.parametrize("wanted", ["auto", "on"])
def test_the_functions_own_mistakes_are_not_hidden(monkeypatch: pytest.MonkeyPatch, wanted) -> None:
    compiling_with(monkeypatch, None, [])
    with pytest.raises(ValueError, match="own mistake"):
        maybe_compile(double, wanted, emit_to([]))(-1)


def test_no_compiler(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    assert compiler_name() is None
    notes: Notes = []
    assert maybe_compile(double, "auto", emit_to(notes)) is double
    assert len(notes) == 1 and "No C++ compiler found" in notes[0]
    with pytest.raises(HanlinError, match="there is no C"):
        maybe_compile(double, "on", emit_to([]))


@pytest.mark.skipif(sys.platform == "win32", reason="the compiler is cl there")
def test_the_compiler_is_the_one_torch_would_use(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    usual = "clang++" if sys.platform == "darwin" else "g++"
    for name in (usual, "my-compiler"):
        (tmp_path / name).write_text("#!/bin/sh\n")
        os.chmod(tmp_path / name, 0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    assert compiler_name() == usual
    monkeypatch.setenv("CXX", "my-compiler")
    assert compiler_name() == "my-compiler"
    monkeypatch.setenv("CXX", "missing-compiler")
    assert compiler_name() is None


def test_the_dtype_follows_the_processor() -> None:
    assert training_dtype("float32") == torch.float32 and training_dtype("bfloat16") == torch.bfloat16
    assert training_dtype("auto") in (torch.float32, torch.bfloat16)
