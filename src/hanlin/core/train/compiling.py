"""torch.compile where a compiler exists; plain PyTorch with one line of explanation where not."""

from __future__ import annotations

import functools
import os
import shutil
import sys
from collections.abc import Callable
from typing import Any, Literal, TypeVar

import torch

from hanlin.core.run.errors import HanlinError
from hanlin.core.run.events import Emit

Function = TypeVar("Function", bound=Callable)


def compiler_name() -> str | None:
    """The C++ compiler torch.compile would use on this machine's CPU, or None."""
    wanted = os.environ.get("CXX") or {"win32": "cl", "darwin": "clang++"}.get(sys.platform, "g++")
    return wanted if shutil.which(wanted) else None


def maybe_compile(function: Function, wanted: Literal["auto", "on", "off"], emit: Emit) -> Function:
    """`function`, compiled for fixed shapes when wanted and possible; `auto` says in one line where it is not.

    `on` raises HanlinError, without a compiler at once, with one that fails at the first call.
    """
    if wanted == "off":
        return function
    if compiler_name() is None:
        if wanted == "on":
            raise HanlinError(
                "compile=on, but there is no C++ compiler.",
                "g++ on the PATH, or the compiler that CXX names",
                "apt-get install g++, or train.compile=auto",
                "docs/training.md",
            )
        emit(
            "note",
            text="No C++ compiler found: training runs without torch.compile (about 1.3 times slower, "
            "same result to rounding).",
        )
        return function
    return _careful(torch.compile(function, dynamic=False), function, wanted, emit)


def _careful(compiled: Function, plain: Function, wanted: Literal["auto", "on"], emit: Emit) -> Any:
    """The compiled function; from its first failure on the plain one. A compiler alone is not enough: Python's own
    headers may be missing, or the compiler may be broken."""
    working = compiled

    @functools.wraps(plain)
    def call(*arguments: Any) -> Any:
        nonlocal working
        try:
            return working(*arguments)
        except Exception as error:
            if working is plain or not isinstance(error, torch._dynamo.exc.TorchDynamoException):
                raise
            reason = next(filter(None, (line.strip() for line in str(error).splitlines())), type(error).__name__)[:160]
            if wanted == "on":
                raise HanlinError(
                    f"compile=on, but torch.compile fails: {reason}",
                    "a working C++ compiler and the headers of this Python",
                    "apt-get install g++ python3-dev, or train.compile=auto",
                    "docs/training.md",
                ) from error
        emit("note", text=f"torch.compile fails ({reason}): training runs without it, same result to rounding.")
        working = plain
        return plain(*arguments)

    return call


def training_dtype(wanted: Literal["auto", "bfloat16", "float32", "float8"]) -> torch.dtype:
    """auto: bfloat16 where the processor has instructions for it, else float32 (emulated bfloat16 is slower)."""
    if wanted == "float8":
        return torch.bfloat16
    if wanted == "auto":
        native = torch.backends.mkldnn.is_available() and torch.ops.mkldnn._is_mkldnn_bf16_supported()
        return torch.bfloat16 if native else torch.float32
    return getattr(torch, wanted)
