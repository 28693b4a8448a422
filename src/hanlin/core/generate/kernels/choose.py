"""Which 8-bit products suit this machine: measured once, for a fraction of a second, and kept in the user's cache."""

from __future__ import annotations

import json
import time
from collections.abc import Callable

import torch

from hanlin.core.run.artifact import write_json
from hanlin.core.run.execute import machine_name
from hanlin.core.run.sources import cache_folder
from hanlin.core.train.compiling import compiler_name

ROWS, WIDTH, OUTPUTS, ROUNDS = 256, 1024, 2048, 15


def turned_is_faster(device: torch.device) -> bool:
    """Whether whole numbers are multiplied faster than bfloat16 here, by programs that can be compiled. The same answer
    each time on one machine."""
    if device.type != "cpu" or compiler_name() is None:
        return False
    file = cache_folder() / "kernels" / "choices.json"
    key = f"{machine_name()}, torch {torch.__version__}"
    try:
        known = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
        if key not in known:
            known[key] = measure()
            file.parent.mkdir(parents=True, exist_ok=True)
            write_json(file, known)
        return known[key]["int8"] < known[key]["bfloat16"]
    except (OSError, ValueError, KeyError, TypeError, RuntimeError):
        return False


def measure() -> dict[str, float]:
    """Milliseconds of one product of many rows: the best of several turns, on one thread, because others may use the
    machine too, and threads then wait for each other."""
    codes = torch.ones(OUTPUTS, WIDTH, dtype=torch.int8)
    x, weight = torch.ones(ROWS, WIDTH, dtype=torch.int8), codes.bfloat16()
    x_bfloat16 = x.bfloat16()
    work: dict[str, Callable[[], object]] = {
        "int8": lambda: torch._int_mm(x, codes.T),
        "bfloat16": lambda: torch.nn.functional.linear(x_bfloat16, weight),
    }
    times: dict[str, list[float]] = {name: [] for name in work}
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        for _ in range(ROUNDS):
            for name, product in work.items():
                began = time.perf_counter()
                product()
                times[name].append(time.perf_counter() - began)
    finally:
        torch.set_num_threads(threads)
    return {name: round(min(own) * 1000, 4) for name, own in times.items()}
