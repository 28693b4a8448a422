"""Which products suit this machine: measured once, for a fraction of a second, and kept in the user's cache."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch

from hanlin.core.generate.kernels.linear import CodedLinear
from hanlin.core.run.artifact import write_json
from hanlin.core.run.execute import machine_name
from hanlin.core.run.sources import cache_folder

ROWS, WIDTH, OUTPUTS, ROUNDS = 256, 1024, 2048, 15
FEW = (1, 2, 4, 8, 16, 32)
"""Numbers of rows at which a layer's codes and its bfloat16 matrix are timed beside each other."""

Milliseconds = dict[str, float]


def turned_is_faster(device: torch.device) -> bool:
    """Whether whole numbers are multiplied faster than bfloat16 here. The same answer each time on one machine."""
    if device.type != "cpu":
        return False
    found = known("products", measure)
    return found is not None and found["int8"] < found["bfloat16"]


def few_rows(layer: CodedLinear) -> int:
    """Up to how many rows this layer's codes are multiplied faster than its matrix in bfloat16, if there is one."""
    wide = layer.wide
    if wide is None:
        return layer.few_rows

    def measured() -> Milliseconds:
        times: Milliseconds = {}
        for rows in FEW:
            x = torch.ones(rows, layer.in_features, dtype=torch.bfloat16, device=wide.device)
            work = {"codes": partial(layer.narrow, x), "bfloat16": partial(wide.product, x)}
            times |= {f"{name} {rows}": number for name, number in timed(work).items()}
        return times

    found = known(f"{layer.codes_name} {layer.out_features} x {layer.in_features}, {wide.device.type}", measured)
    if found is None:
        return layer.few_rows
    faster = [found[f"codes {rows}"] <= found[f"bfloat16 {rows}"] for rows in FEW]
    return 0 if not faster[0] else FEW[(faster.index(False) if False in faster else len(FEW)) - 1]


def known(name: str, measured: Callable[[], Milliseconds]) -> Milliseconds | None:
    """What was measured on this machine with this torch, or is now; None where that can't be done or kept."""
    file = cache_folder() / "kernels" / "choices.json"
    key = f"{machine_name()}, torch {torch.__version__}"
    try:
        all_known: dict[str, Any] = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
        own = all_known.setdefault(key, {})
        if name not in own:
            own[name] = measured()
            file.parent.mkdir(parents=True, exist_ok=True)
            write_json(file, all_known)
        return {what: float(number) for what, number in own[name].items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RuntimeError):
        return None


def measure() -> Milliseconds:
    """One product of many rows in 8 bits and in bfloat16."""
    codes = torch.ones(OUTPUTS, WIDTH, dtype=torch.int8)
    x, weight = torch.ones(ROWS, WIDTH, dtype=torch.int8), codes.bfloat16()
    x_bfloat16 = x.bfloat16()
    return timed(
        {
            "int8": lambda: torch._int_mm(x, codes.T),
            "bfloat16": lambda: torch.nn.functional.linear(x_bfloat16, weight),
        }
    )


def timed(work: Mapping[str, Callable[[], torch.Tensor]]) -> Milliseconds:
    """The best of several turns, on one thread, because others may use the machine too, and threads then wait for each
    other."""
    times: dict[str, list[float]] = {name: [] for name in work}
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        for _ in range(ROUNDS):
            for name, product in work.items():
                began = time.perf_counter()
                if product().device.type == "cuda":
                    torch.cuda.synchronize()
                times[name].append(time.perf_counter() - began)
    finally:
        torch.set_num_threads(threads)
    return {name: round(min(own) * 1000, 4) for name, own in times.items()}
