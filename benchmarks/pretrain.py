"""Pretraining speed: our loop's step beside nanochat's and transformers' Llama, in one run. Prints one JSON line.

    python benchmarks/pretrain.py --nanochat PATH        6 layers × 384, V 8,192, T 256, B 32; PATH: a checkout of
                                                         github.com/karpathy/nanochat
    python benchmarks/pretrain.py --rounds 3 --steps 2   shorter, noisier

A step is everything an update costs: forward, backward, optimizer. nanochat is its own model and optimizer (Muon and
AdamW), bfloat16, compiled. transformers' Llama has our shape, bfloat16 autocast and torch's fused AdamW, as its own
trainer does. We use bfloat16 weights with float32 masters, Muon and AdamW. The feed-forward width is 8/3 of the
model's: our three matrices then hold as many weights as nanochat's two of four widths. All take turns, so that a slow
minute of a shared machine hits all of them; the medians are compared. An absent peer is said.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).parent))

from peers import nanochat

from hanlin.core.model.families import qwen3
from hanlin.core.run.events import silent
from hanlin.core.run.execute import machine_name
from hanlin.core.train.batch import Batch
from hanlin.core.train.compiling import maybe_compile
from hanlin.core.train.config import Train
from hanlin.core.train.initialise import initialise
from hanlin.core.train.objectives.causal import Causal
from hanlin.core.train.optimizer import Optimizer

Step = Callable[[], object]


def main() -> None:
    options = parse()
    config = qwen3.new_config(
        vocab_size=options.vocab,
        width=options.width,
        num_layers=options.layers,
        num_heads=options.width // 64,
        num_kv_heads=options.width // 64,
        head_width=64,
        hidden=options.hidden or 8 * options.width // 3,
        max_positions=options.context,
    )
    ids_BS = torch.randint(
        0, options.vocab, (options.batch, options.context + 1), generator=torch.Generator().manual_seed(0)
    )
    steps: dict[str, Step] = {
        "hanlin": hanlin_step(config, ids_BS, "auto"),
        "hanlin_eager": hanlin_step(config, ids_BS, "off"),
    }
    missing = "--alone" if options.alone else nanochat.why_missing(options.nanochat)
    if missing is None:
        steps["nanochat"] = nanochat_step(options, ids_BS)
    if not options.alone:
        steps["transformers_compiled"] = transformers_step(config, ids_BS, compiled=True)
        steps["transformers_eager"] = transformers_step(config, ids_BS, compiled=False)
    rates = measure(steps, ids_BS[:, 1:].numel(), options.rounds, options.steps)
    peak = matrix_peak()
    ours = rates["hanlin"]
    result = {
        "benchmark": "pretrain",
        "machine": machine_name(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "shape": {name: value for name, value in vars(options).items() if isinstance(value, int)},
        "tokens_per_second": {name: round(rate) for name, rate in rates.items()},
        "matrix_peak_gflops": round(peak / 1e9),
        "share_of_peak": round(ours * flops_per_token(config, options.context) / peak, 3),
        "ratio": {name: round(ours / rate, 2) for name, rate in rates.items() if name != "hanlin"},
    }
    if missing is not None:
        result["tokens_per_second"]["nanochat"], result["missing"] = None, {"nanochat": missing}
    print(json.dumps(result))


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    for name, default in (
        ("layers", 6),
        ("width", 384),
        ("vocab", 8192),
        ("hidden", 0),
        ("context", 256),
        ("batch", 32),
        ("rounds", 5),
        ("steps", 2),
    ):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--nanochat", type=Path, help="a checkout")
    parser.add_argument("--alone", action="store_true", help="without the peers")
    return parser.parse_args()


def hanlin_step(config: dict[str, Any], ids_BS: torch.Tensor, compiled: str) -> Step:
    model = qwen3.build(config)
    initialise(model, 0)
    model.to(torch.bfloat16)
    optimizer = Optimizer(model, Train())
    model.body = maybe_compile(model.body, compiled, silent)
    batch = Batch(ids_BS[:, :-1].contiguous(), ids_BS[:, 1:].contiguous())
    loss = Causal()

    def step() -> None:
        (loss(model, batch) / batch.num_trained).backward()
        optimizer.step(1.0)

    return step


def nanochat_step(options: argparse.Namespace, ids_BS: torch.Tensor) -> Step:
    peer = nanochat.new(
        options.nanochat, options.vocab, options.layers, options.width // 64, options.width, options.context
    )
    ids_BT, targets_BT = ids_BS[:, :-1].contiguous(), ids_BS[:, 1:].contiguous()
    return lambda: float(peer.step(ids_BT, targets_BT))


def transformers_step(config: dict[str, Any], ids_BS: torch.Tensor, compiled: bool) -> Step:
    from transformers import LlamaConfig, LlamaForCausalLM

    shared = (
        "vocab_size",
        "hidden_size",
        "intermediate_size",
        "num_hidden_layers",
        "num_attention_heads",
        "num_key_value_heads",
        "head_dim",
        "max_position_embeddings",
        "tie_word_embeddings",
    )
    model = LlamaForCausalLM(LlamaConfig(**{name: config[name] for name in shared}, use_cache=False)).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, fused=True)
    forward = torch.compile(model, dynamic=False) if compiled else model
    ids_BT = ids_BS[:, :-1].contiguous()

    def step() -> None:
        with torch.autocast("cpu", torch.bfloat16):
            loss = forward(input_ids=ids_BT, labels=ids_BT).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    return step


def measure(steps: dict[str, Step], tokens: int, rounds: int, repeats: int) -> dict[str, float]:
    """Median tokens per second of each, taking turns; the first turn of each is warm-up and not counted."""
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    for turn in range(rounds + 1):
        for name, step in steps.items():
            if turn == 0:
                step()
                step()
                continue
            began = time.perf_counter()
            for _ in range(repeats):
                step()
            seconds[name].append((time.perf_counter() - began) / repeats)
    return {name: tokens / statistics.median(times) for name, times in seconds.items()}


def matrix_peak(size: int = 2048, repeats: int = 10) -> float:
    """The machine's own bfloat16 rate, in FLOP/s: the fastest of several products of two size × size matrices."""
    left, right = (torch.randn(size, size).bfloat16() for _ in range(2))
    times = []
    for _ in range(repeats):
        began = time.perf_counter()
        left @ right
        times.append(time.perf_counter() - began)
    return 2 * size**3 / min(times)


def flops_per_token(config: dict[str, Any], context: int) -> float:
    """6 per weight of a matrix product (forward 2, backward 4) and the causal half of attention's two products."""
    width, heads, kv_heads = config["hidden_size"], config["num_attention_heads"], config["num_key_value_heads"]
    per_layer = width * config["head_dim"] * (2 * heads + 2 * kv_heads) + 3 * width * config["intermediate_size"]
    attention = heads * config["head_dim"] * context
    return 6 * (config["num_hidden_layers"] * (per_layer + attention) + config["vocab_size"] * width)


if __name__ == "__main__":
    main()
