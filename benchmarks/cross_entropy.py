"""Forward and backward of the head and its cross-entropy: ours in blocks, the plain one eager and compiled, and TRL's.

    python benchmarks/cross_entropy.py                         one JSON line of milliseconds and memory
    python benchmarks/cross_entropy.py --shapes gemma_frozen  only some of the shapes
    python benchmarks/cross_entropy.py --rounds 3              shorter, noisier

bfloat16. Small: V 8,192 trained, at the two shapes of pretraining; large: Gemma 3's 262,144 × 640 with 512 tokens, once
frozen (LoRA) and once trained. All take turns, medians are compared; `products` are the two or three matrix products
that nobody can do without. Memory: what a step holds at most beyond its inputs, a weight's gradient included, each in a
process of its own, on Linux.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F

from hanlin.core.model.cross_entropy import linear_cross_entropy
from hanlin.core.run.execute import machine_name
from hanlin.core.train.compiling import compiler_name

SHAPES: dict[str, tuple[int, int, int, bool]] = {
    "pretrain_2048": (2048, 256, 8192, True),
    "pretrain_8192": (8192, 384, 8192, True),
    "gemma_frozen": (512, 640, 262_144, False),
    "gemma_trained": (512, 640, 262_144, True),
}
"""Tokens, width, vocabulary, whether the weight is trained."""

Loss = Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--shapes", nargs="+", choices=SHAPES, default=list(SHAPES))
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--peak", nargs=2, metavar=("SHAPE", "NAME"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.peak:
        print(peak_mib(*options.peak))
        return
    result = {
        "benchmark": "cross_entropy",
        "machine": machine_name(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "milliseconds": {shape: milliseconds(shape, options.rounds) for shape in options.shapes},
        "memory_mib": {shape: memory(shape) for shape in options.shapes},
    }
    print(json.dumps(result))


def plain(states_NC: torch.Tensor, weight_VC: torch.Tensor, targets_N: torch.Tensor) -> torch.Tensor:
    return F.cross_entropy(F.linear(states_NC, weight_VC).float(), targets_N, reduction="sum")


def contestants() -> dict[str, Loss | None]:
    """None: absent here."""
    return {
        "hanlin": linear_cross_entropy,
        "plain": plain,
        "plain_compiled": torch.compile(plain, dynamic=False) if compiler_name() else None,
        "trl": trl(),
    }


def trl() -> Loss | None:
    try:
        from trl.kernels.chunked_logprob import ChunkedLogProbFunction
    except ImportError:
        return None

    def loss(states_NC: torch.Tensor, weight_VC: torch.Tensor, targets_N: torch.Tensor) -> torch.Tensor:
        logprobs_N, *_ = ChunkedLogProbFunction.apply(states_NC, weight_VC, None, targets_N, 1.0, 8192, None, 1.0, ())
        return -logprobs_N.sum()

    return loss


def inputs(shape: str) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    num_tokens, width, vocab, trained = SHAPES[shape]
    random = torch.Generator().manual_seed(0)
    states_NC = torch.randn(num_tokens, width, generator=random).to(torch.bfloat16).requires_grad_()
    weight_VC = torch.randn(vocab, width, generator=random).mul_(0.05).to(torch.bfloat16).requires_grad_(trained)
    return states_NC, weight_VC, torch.randint(vocab, (num_tokens,), generator=random)


def milliseconds(shape: str, rounds: int) -> dict[str, float | None]:
    states_NC, weight_VC, targets_N = inputs(shape)

    def step(loss: Loss) -> None:
        states_NC.grad = weight_VC.grad = None
        (loss(states_NC, weight_VC, targets_N) / len(targets_N)).backward()

    def products() -> None:
        with torch.no_grad():
            logits_NV = states_NC @ weight_VC.T
            logits_NV @ weight_VC
            if weight_VC.requires_grad:
                logits_NV.T @ states_NC

    losses = contestants()
    steps = {name: (lambda loss=loss: step(loss)) for name, loss in losses.items() if loss} | {"products": products}
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    for turn in range(rounds + 1):
        for name, work in steps.items():
            began = time.perf_counter()
            work()
            if turn:
                seconds[name].append(time.perf_counter() - began)
    found = {name: round(1000 * statistics.median(times), 1) for name, times in seconds.items()}
    return {name: found.get(name) for name in (*losses, "products")}


def memory(shape: str) -> dict[str, int | None]:
    if not Path("/proc/self/status").exists():
        return {}
    found: dict[str, int | None] = {}
    for name, loss in contestants().items():
        command = [sys.executable, __file__, "--peak", shape, name]
        answer = subprocess.run(command, capture_output=True, text=True, check=True, env=os.environ) if loss else None
        found[name] = int(answer.stdout) if answer else None
    return found


def peak_mib(shape: str, name: str) -> int:
    loss = contestants()[name]
    assert loss is not None
    states_NC, weight_VC, targets_N = inputs(shape)
    few = states_NC[:8].detach().requires_grad_()
    loss(few, weight_VC[:64], targets_N[:8] % 64).backward()  # libraries and threads are up
    weight_VC.grad = None
    Path("/proc/self/clear_refs").write_text("5")  # the peak is counted from here
    before = status("VmRSS")
    loss(states_NC, weight_VC, targets_N).backward()
    return (status("VmHWM") - before) // 1024


def status(name: str) -> int:
    """KiB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(name)).split()[1])


if __name__ == "__main__":
    main()
