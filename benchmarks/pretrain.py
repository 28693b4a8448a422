"""Pretraining speed: our loop's step beside transformers' Llama at the same shape, in one run. Prints one JSON line.

    python benchmarks/pretrain.py                        6 layers × 384, V 8,192, T 256, B 32
    python benchmarks/pretrain.py --rounds 3 --steps 2   shorter, noisier

A step is everything an update costs: forward, backward, optimizer. The peers use bfloat16 autocast and torch's fused
AdamW, as transformers' own trainer does; we use bfloat16 weights with float32 masters and Muon + AdamW. All take turns,
so that a slow minute of a shared machine hits all of them; the medians are compared.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable

import torch
import torch.nn.functional as F

from hanlin.core.model.decoder import DecoderShape
from hanlin.core.model.families import qwen3
from hanlin.core.run.events import silent
from hanlin.core.run.execute import machine_name
from hanlin.core.train.compiling import maybe_compile
from hanlin.core.train.config import Train
from hanlin.core.train.initialise import initialise
from hanlin.core.train.loss import next_token_loss
from hanlin.core.train.optimizer import Optimizer

Step = Callable[[], None]


def main() -> None:
    options = parse()
    shape = DecoderShape(
        options.vocab,
        options.width,
        options.layers,
        options.width // 64,
        options.width // 64,
        64,
        4 * options.width,
        options.context,
    )
    ids_BS = torch.randint(
        0, options.vocab, (options.batch, options.context + 1), generator=torch.Generator().manual_seed(0)
    )
    steps: dict[str, Step] = {
        "hanlin": hanlin_step(shape, ids_BS, "auto"),
        "hanlin_eager": hanlin_step(shape, ids_BS, "off"),
    }
    if not options.alone:
        steps["transformers_compiled"] = transformers_step(shape, ids_BS, compiled=True)
        steps["transformers_eager"] = transformers_step(shape, ids_BS, compiled=False)
    rates = measure(steps, ids_BS[:, 1:].numel(), options.rounds, options.steps)
    peak = matrix_peak()
    ours = rates["hanlin"]
    result = {
        "benchmark": "pretrain",
        "machine": machine_name(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "shape": vars(options),
        "tokens_per_second": {name: round(rate) for name, rate in rates.items()},
        "matrix_peak_gflops": round(peak / 1e9),
        "share_of_peak": round(ours * flops_per_token(shape, options.context) / peak, 3),
        "ratio": {name: round(ours / rate, 2) for name, rate in rates.items() if name != "hanlin"},
    }
    print(json.dumps(result))


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    for name, default in (
        ("layers", 6),
        ("width", 384),
        ("vocab", 8192),
        ("context", 256),
        ("batch", 32),
        ("rounds", 5),
        ("steps", 2),
    ):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--alone", action="store_true", help="without the peers")
    return parser.parse_args()


def hanlin_step(shape: DecoderShape, ids_BS: torch.Tensor, compiled: str) -> Step:
    model = qwen3.build(shape)
    initialise(model, 0)
    model.to(torch.bfloat16)
    optimizer = Optimizer(model, Train())
    loss = maybe_compile(next_token_loss, compiled, silent)
    targets_BT = ids_BS[:, 1:].contiguous()

    def step() -> None:
        x_BTC = F.embedding(ids_BS[:, :-1], model.embed_tokens.weight)
        (loss(model, x_BTC, targets_BT) / targets_BT.numel()).backward()
        optimizer.step(1.0)

    return step


def transformers_step(shape: DecoderShape, ids_BS: torch.Tensor, compiled: bool) -> Step:
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=shape.vocab_size,
        hidden_size=shape.width,
        intermediate_size=shape.hidden,
        num_hidden_layers=shape.num_layers,
        num_attention_heads=shape.num_heads,
        num_key_value_heads=shape.num_kv_heads,
        head_dim=shape.head_width,
        max_position_embeddings=shape.max_positions,
        tie_word_embeddings=True,
        use_cache=False,
    )
    model = LlamaForCausalLM(config).train()
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


def flops_per_token(shape: DecoderShape, context: int) -> float:
    """6 per weight of a matrix product (forward 2, backward 4) and the causal half of attention's two products."""
    per_layer = (
        shape.width * shape.head_width * (2 * shape.num_heads + 2 * shape.num_kv_heads) + 3 * shape.width * shape.hidden
    )
    attention = shape.num_heads * shape.head_width * context
    return 6 * (shape.num_layers * (per_layer + attention) + shape.vocab_size * shape.width)


if __name__ == "__main__":
    main()
