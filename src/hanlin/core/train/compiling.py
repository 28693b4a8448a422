"""torch.compile where a compiler exists; plain PyTorch with one line of explanation where not."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable
from typing import Literal, TypeVar

import torch

from hanlin.core.run.errors import HanlinError
from hanlin.core.run.events import Emit

Function = TypeVar("Function", bound=Callable)


def compiler_name() -> str | None:
    """The C++ compiler torch.compile would use on this machine's CPU, or None."""
    wanted = os.environ.get("CXX") or ("cl" if sys.platform == "win32" else "g++")
    return next((name for name in (wanted, "g++", "clang++") if shutil.which(name)), None)


def maybe_compile(function: Function, wanted: Literal["auto", "on", "off"], emit: Emit) -> Function:
    """`function`, compiled for fixed shapes when wanted and possible. `on` without a compiler raises HanlinError."""
    if wanted == "off":
        return function
    if compiler_name() is None:
        if wanted == "on":
            raise HanlinError(
                "compile=on, but there is no C++ compiler.",
                "g++ or clang++ on the PATH",
                "apt-get install g++, or train.compile=auto",
                "docs/training.md",
            )
        emit(
            "note",
            text="No C++ compiler found: training runs without torch.compile (about 1.3 times slower, "
            "same result to rounding).",
        )
        return function
    return torch.compile(function, dynamic=False)


def training_dtype(wanted: Literal["auto", "bfloat16", "float32"]) -> torch.dtype:
    """auto: bfloat16 where the processor has instructions for it, else float32 (emulated bfloat16 is slower)."""
    if wanted == "auto":
        native = torch.backends.mkldnn.is_available() and torch.ops.mkldnn._is_mkldnn_bf16_supported()
        return torch.bfloat16 if native else torch.float32
    return getattr(torch, wanted)
