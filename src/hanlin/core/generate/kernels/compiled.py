"""The parts of a block as compiled programs, made once for a machine and kept in the user's cache.

torch.compile would trace and check anew in each process and at each call. A program of torch.export and AOTInductor is
loaded in milliseconds, and one call is a whole block: https://docs.pytorch.org/docs/stable/torch.compiler_aot_inductor.html.
Weights are its inputs, so that all blocks of one structure share it.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
import time
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.export import Dim

from hanlin.core.generate.kernels.parts import Parts
from hanlin.core.run.events import Emit
from hanlin.core.run.execute import machine_name
from hanlin.core.run.sources import cache_folder
from hanlin.core.train.compiling import compiler_name

MOST_FILES = 64
"""Programs kept; those unused for longest make room."""
ROWS, TEXTS = Dim("rows", min=2, max=2**20), Dim("texts", min=2, max=2**12)
SEEN, SLOTS = Dim("seen", min=2, max=2**24), Dim("slots", min=2, max=2**30)
OPTIONS = {"cpp.enable_floating_point_contract_flag": "fast"}
"""A product and a sum in one instruction."""
NAMES = ("enter", "leave", "one", "many")
"""`Parts.enter` and `leave` for any number of rows from 2; `Parts.step` for one text, and for several."""


class Programs:
    """One structure's programs: each takes its inputs and a block's own tensors and gives its outputs."""

    def __init__(self, loaders: dict[str, Any]):
        self._loaders = loaders

    def run(self, name: str, inputs: Sequence[torch.Tensor], tensors: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        return self._loaders[name].run([*inputs, *tensors])


def programs_of(parts: Parts, emit: Emit) -> Programs | None:
    """Loaded where this machine has made them before, else made. None, with a line, where that can't be done."""
    try:
        paths = {name: cache_folder() / "kernels" / f"{name}-{key_of(parts)}.pt2" for name in NAMES}
        missing = [name for name, path in paths.items() if not path.exists()]
        if missing:
            if compiler_name() is None:
                emit("note", text="No C++ compiler found: writing runs uncompiled (about half as fast).")
                return None
            emit("note", text="Compiling the model's blocks for this machine, once.")
            began = time.perf_counter()
            for name in missing:
                make(parts, name, paths[name])
            emit("note", text=f"Compiled in {time.perf_counter() - began:.0f} s.")
        loader = torch._C._aoti.AOTIModelPackageLoader
        for path in paths.values():
            os.utime(path)
        return Programs({name: loader(str(path), "model", False, 1, -1) for name, path in paths.items()})
    except Exception as error:  # compilers fail in many ways, and none of them is worth a reply
        reason = next(filter(None, (line.strip() for line in str(error).splitlines())), type(error).__name__)[:160]
        emit("note", text=f"Compiling fails ({reason}): writing runs uncompiled.")
        return None


def tensors_of(parts: Parts) -> tuple[torch.Tensor, ...]:
    """What a program takes as the block's own, in its order."""
    return tuple(value.detach() for _, value in _named(parts))


@torch.no_grad()
def make(parts: Parts, name: str, path: Path) -> None:
    """Compile one part and put it where it belongs, whole or not at all."""
    examples, shapes = example(parts, name)
    names = [own for own, _ in _named(parts)]
    program = _Program(parts, "step" if name in ("one", "many") else name, names)
    path.parent.mkdir(parents=True, exist_ok=True)
    with warnings.catch_warnings(), tempfile.TemporaryDirectory(dir=path.parent) as folder:
        warnings.simplefilter("ignore")
        arguments = (*examples, *tensors_of(parts))
        dynamic = ((*shapes, *([None] * len(names))),)
        exported = torch.export.export(program, arguments, dynamic_shapes=dynamic)
        package = str(Path(folder) / "program.pt2")
        made = torch._inductor.aoti_compile_and_package(exported, package_path=package, inductor_configs=OPTIONS)
        os.replace(made, path)
    _forget_oldest(path.parent)


def example(parts: Parts, name: str) -> tuple[list[torch.Tensor], list[Any]]:
    """Inputs of a part, and which of their sizes may change."""
    C, D, K = parts.qkv.in_features, parts.head_width, parts.num_kv_heads
    B, S, P = (1, 7, 64) if name == "one" else (5, 7, 64)
    rows = {"one": None, "many": {0: TEXTS}}.get(name, {0: ROWS})
    tables = [torch.rand(B, 1, max(1, parts.turned_width // 2)) for _ in range(2)]
    x = torch.rand(B, C)
    if name == "enter":
        return [x, *tables], [rows] * 3
    if name == "leave":
        return [x, torch.rand(B, parts.num_heads * D).to(parts.dtype)], [rows] * 2
    pages = [torch.rand(P, K, D).to(parts.dtype) for _ in range(2)]
    seen = torch.arange(B * S).view(B, S)
    seen_shape = {1: SEEN} if name == "one" else {0: TEXTS, 1: SEEN}
    inputs = [x, *tables, *pages, seen[:, -1].clone(), seen, torch.zeros(B, S)]
    return inputs, [rows, rows, rows, {0: SLOTS}, {0: SLOTS}, rows, seen_shape, seen_shape]


def key_of(parts: Parts) -> str:
    """Equal for equal programs: the source, what the structure is made of, torch, and the machine."""
    sources = [
        (Path(__file__).parent / name).read_bytes() for name in ("parts.py", "turned.py", "rotation.py", "compiled.py")
    ]
    about = [torch.__version__, machine_name(), torch.get_num_threads(), describe(parts)]
    return hashlib.sha256(repr((sources, about)).encode()).hexdigest()[:24]


def describe(module: nn.Module) -> list[Any]:
    """Classes, plain settings, functions by name, shapes and dtypes of all that belongs to a module."""
    found: list[Any] = []
    for name, part in module.named_modules():
        settings = {
            key: getattr(value, "__qualname__", repr(value))
            for key, value in sorted(vars(part).items())
            if not key.startswith("_") and key != "training"
        }
        found.append((name, type(part).__qualname__, settings))
    return [*found, *((name, tuple(value.shape), value.dtype) for name, value in _named(module))]


class _Program(nn.Module):
    """A part as a function of its inputs and the block's tensors."""

    def __init__(self, parts: Parts, part: str, names: list[str]):
        super().__init__()
        self._parts, self._part, self._names = [parts], part, names  # in a list: its tensors must not become constants

    def forward(self, *arguments: torch.Tensor) -> Any:
        count = len(arguments) - len(self._names)
        own = dict(zip(self._names, arguments[count:]))
        return torch.func.functional_call(self._parts[0], own, (self._part, *arguments[:count]))


def _named(parts: nn.Module) -> list[tuple[str, torch.Tensor]]:
    return [*parts.named_parameters(), *((name, value) for name, value in parts.named_buffers())]


def _forget_oldest(folder: Path) -> None:
    files = sorted(folder.glob("*.pt2"), key=lambda path: path.stat().st_mtime)
    for path in files[:-MOST_FILES]:
        path.unlink(missing_ok=True)
