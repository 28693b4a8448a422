"""Numbers per second of decoding every ggml tensor type, and of encoding the common ones, beside the gguf package's.

    python benchmarks/ggml.py

8 M numbers each, medians of five; prints one JSON line of millions of numbers a second. Both are one thread of numpy.
A file of Q4_K_M is mostly Q4_K with some Q6_K.
"""

from __future__ import annotations

import json
import os
import statistics
import time
from collections.abc import Callable

import numpy as np
import torch
from gguf import GGMLQuantizationType, quants

from hanlin.core.model.ggml import F32, TYPES, TensorType, decode_into, encode
from hanlin.core.run.execute import machine_name

ROWS, WIDTH = 4096, 2048
ROUNDS = 5

Millions = dict[str, float | None]


def main() -> None:
    random = np.random.default_rng(0)
    weights = random.standard_normal((ROWS, WIDTH), dtype=np.float32) * np.float32(0.02)
    result = {
        "benchmark": "ggml",
        "machine": machine_name(),
        "cpus": os.cpu_count(),
        "numbers": weights.size,
        "decode": {kind.name: decode_rates(kind, weights, random) for kind in TYPES.values()},
        "encode": {kind.name: encode_rates(kind, weights) for kind in TYPES.values() if kind.encode},
    }
    print(json.dumps(result))


def decode_rates(kind: TensorType, weights: np.ndarray, random: np.random.Generator) -> Millions:
    """Into a float32 and a bfloat16 tensor that exist; the gguf package makes a float32 array."""
    data = random.integers(0, 256, (ROWS, kind.num_bytes((WIDTH,))), dtype=np.uint8)
    if kind.encode:
        data = encode(torch.from_numpy(weights), kind).reshape(ROWS, -1)
    single, brain = torch.empty(ROWS, WIDTH), torch.empty(ROWS, WIDTH, dtype=torch.bfloat16)
    return {
        "float32": rate(lambda: decode_into(data, kind, single)),
        "bfloat16": rate(lambda: decode_into(data, kind, brain)),
        "gguf": peer_rate(quants.dequantize, data, kind),
    }


def encode_rates(kind: TensorType, weights: np.ndarray) -> Millions:
    tensor = torch.from_numpy(weights)
    return {
        "ours": rate(lambda: encode(tensor, kind)),
        "gguf": peer_rate(quants.quantize, weights, kind),
    }


def rate(work: Callable[[], object]) -> float:
    seconds = []
    for _ in range(ROUNDS + 1):
        began = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - began)
    return round(ROWS * WIDTH / statistics.median(seconds[1:]) / 1e6, 1)


def peer_rate(
    function: Callable[[np.ndarray, GGMLQuantizationType], np.ndarray], data: np.ndarray, kind: TensorType
) -> float | None:
    """None where the gguf package has no such function, and for F32, where it hands back what it was given."""
    if kind is F32:
        return None
    try:
        number = GGMLQuantizationType(kind.number)
        with np.errstate(all="ignore"):
            return rate(lambda: function(data, number))
    except (NotImplementedError, ValueError):
        return None


if __name__ == "__main__":
    main()
