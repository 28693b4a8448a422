"""NF4 and 8-bit AdamW: milliseconds beside bitsandbytes, bfloat16 layers and torch's fused AdamW.

    python benchmarks/nf4.py [--threads N]

The fastest of seven rounds, because others may use the machine too; prints one JSON line. `linear` is a frozen layer's
forward pass, and forward and backward together (only x gets a gradient), NF4 over bfloat16; `adamw` a step of 10 M
parameters. bitsandbytes' are null where it isn't installed.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import time
from collections.abc import Callable

import torch
from torch import nn

from hanlin.core.model import nf4
from hanlin.core.run.execute import machine_name
from hanlin.core.train.optimizers import adamw, adamw8bit

MATRICES = ((2048, 640), (4096, 4096))
TOKENS = (512, 2048)
PARAMETERS = (2000, 5000)
ROUNDS = 7


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    torch.set_num_threads(parser.parse_args().threads)
    result = {
        "benchmark": "nf4",
        "machine": machine_name(),
        "threads": torch.get_num_threads(),
        "codes": {f"{rows}x{columns}": codes_ms(rows, columns) for rows, columns in MATRICES},
        "linear": {
            f"{rows}x{columns}, {tokens} tokens": linear_ms(rows, columns, tokens)
            for rows, columns in MATRICES
            for tokens in TOKENS
        },
        "adamw": adamw_ms(),
    }
    print(json.dumps(result))


def codes_ms(rows: int, columns: int) -> dict[str, float | None]:
    matrix = torch.randn(rows, columns).bfloat16()
    found = nf4.quantize(matrix)
    result: dict[str, float | None] = {
        "quantize": milliseconds(lambda: nf4.quantize(matrix)),
        "dequantize": milliseconds(lambda: nf4.dequantize(found, torch.bfloat16)),
        "bitsandbytes quantize": None,
        "bitsandbytes dequantize": None,
    }
    if has_bitsandbytes():
        from bitsandbytes.functional import dequantize_4bit, quantize_4bit

        codes, state = quantize_4bit(matrix, quant_type="nf4", compress_statistics=True)
        result["bitsandbytes quantize"] = milliseconds(
            lambda: quantize_4bit(matrix, quant_type="nf4", compress_statistics=True)
        )
        result["bitsandbytes dequantize"] = milliseconds(lambda: dequantize_4bit(codes, state))
    return result


def linear_ms(rows: int, columns: int, tokens: int) -> dict[str, float]:
    """Both layers in turn, so that a busy machine is busy for both."""
    plain = nn.Linear(columns, rows, bias=False).bfloat16().requires_grad_(False)
    frozen = nf4.Nf4Linear.from_linear(plain)
    x = torch.randn(tokens, columns).bfloat16().requires_grad_()
    gradient = torch.randn(tokens, rows).bfloat16()

    def both_ways(layer: nn.Module) -> None:
        layer(x).backward(gradient)
        x.grad = None

    result = {}
    for name, layer in (("bfloat16", plain), ("nf4", frozen)):
        result[f"{name} forward"] = milliseconds(lambda layer=layer: layer(x))
        result[f"{name} both ways"] = milliseconds(lambda layer=layer: both_ways(layer))
    result["nf4 over bfloat16, both ways"] = round(result["nf4 both ways"] / result["bfloat16 both ways"], 3)
    return result


def adamw_ms() -> dict[str, float | None]:
    weight, gradient = torch.randn(PARAMETERS), torch.randn(PARAMETERS)
    result: dict[str, float | None] = {}
    for name, method in (("fused", adamw), ("8 bits", adamw8bit)):
        state = method.new_state(weight)
        numbers = ([weight], [gradient], [state], 1e-3, 1, 0.1, (0.9, 0.95), 1e-8)
        result[name] = milliseconds(lambda method=method, numbers=numbers: method.step(*numbers))
        result[f"{name}, bytes a parameter"] = round(sum(t.nbytes for t in state.values()) / weight.numel(), 3)
    result["bitsandbytes"] = None
    if has_bitsandbytes():
        from bitsandbytes.optim import AdamW8bit

        parameter = nn.Parameter(weight)
        parameter.grad = gradient
        result["bitsandbytes"] = milliseconds(AdamW8bit([parameter]).step)
    return result


def milliseconds(work: Callable[[], object]) -> float:
    work()
    seconds = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - began)
    return round(min(seconds) * 1000, 3)


def has_bitsandbytes() -> bool:
    return importlib.util.find_spec("bitsandbytes") is not None


if __name__ == "__main__":
    main()
