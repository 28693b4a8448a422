"""Quality per minute: bits per held-out character after some minutes of training, ours and nanochat's, one after the
other. Prints one JSON line.

    python benchmarks/quality.py --nanochat PATH                  five minutes each; PATH: a checkout of
                                                                  github.com/karpathy/nanochat
    python benchmarks/quality.py --minutes 1 model.depth=4        a minute of ours, with options of hanlin pretrain

Ours is the step `base` of recipes/demo.yaml. nanochat is its own model and optimizer with its own schedule, over
minutes instead of steps: 4 layers × 256. Both read the default corpus through the same tokenizer, in the same windows
of 256 tokens, 8 a step, in the same order; the measure is one function. Compiling is counted for neither.
--nanochat-rates multiplies nanochat's learning rates, which are made for larger batches. An absent peer is said.
"""

from __future__ import annotations

import argparse
import json
import math
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F

sys.path.insert(0, str(Path(__file__).parent))

from peers import nanochat
from peers.turns import peak_bytes

from hanlin.core.model.pretrained import load
from hanlin.core.run.artifact import Artifact, open_artifact
from hanlin.core.run.config import build, parse_overrides, put
from hanlin.core.run.events import silent
from hanlin.core.run.execute import execute, machine_name
from hanlin.core.run.recipe import load_recipe
from hanlin.core.run.sources import fetch
from hanlin.core.text.shards import Documents, open_shards
from hanlin.core.text.tokenizer import load_tokenizer
from hanlin.core.train.batch import IGNORED
from hanlin.make.collect.config import Collect
from hanlin.make.pretrain.config import Pretrain
from hanlin.make.pretrain.run import run
from hanlin.make.pretrain.windows import Windows
from hanlin.make.tokenize.config import Tokenize
from hanlin.rooms import ROOMS

RECIPE = Path(__file__).parents[1] / "recipes" / "demo.yaml"
CONTEXT, ROWS, SEED = 256, 8, 0
LAYERS, WIDTH, HEADS = 4, 256, 4
"""nanochat's."""

LogitsOf = Callable[[torch.Tensor], torch.Tensor]
"""ids (B, T) → logits (B, T, V)."""


def main() -> None:
    options = parse()
    if options.worker:
        print(json.dumps({"hanlin": hanlin_worker, "nanochat": nanochat_worker}[options.worker](options)))
        return
    prepare(options.work)
    missing = nanochat.why_missing(options.nanochat)
    ours = figures("hanlin")
    theirs = figures("nanochat") if missing is None else {"heldout_bpc": None, "missing": missing}
    result = {
        "benchmark": "quality",
        "machine": machine_name(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "minutes": options.minutes,
        "hanlin": ours,
        "nanochat": theirs,
    }
    if ours["heldout_bpc"] and theirs["heldout_bpc"]:
        result["difference_bpc"] = round(ours["heldout_bpc"] - theirs["heldout_bpc"], 3)
    print(json.dumps(result))


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("words", nargs="*", metavar="option=value", help="of hanlin pretrain, over the recipe's")
    parser.add_argument("--minutes", type=float, default=5.0, help="of training, each")
    parser.add_argument("--nanochat", type=Path, help="a checkout")
    parser.add_argument("--nanochat-rates", type=float, default=1.0, help="factor of its learning rates")
    parser.add_argument(
        "--work", type=Path, default=Path("runs/benchmarks"), help="where corpus and tokenizer are kept"
    )
    parser.add_argument("--worker", choices=("hanlin", "nanochat"), help=argparse.SUPPRESS)
    return parser.parse_args()


def prepare(work: Path) -> None:
    """The recipe's legal corpus and a tokenizer of it, made once."""
    values = {step.name: step.values for step in load_recipe(RECIPE, ROOMS).steps}
    sources = {f"sources.{n}": fetch(address, silent) for n, address in enumerate(values["law"]["sources"])}
    corpus = execute(ROOMS["collect"], Collect(rows="text"), sources, work / "corpus", replace=True)
    config = Tokenize(vocab_size=values["tokenizer"]["vocab_size"])
    execute(ROOMS["tokenize"], config, {"corpus": corpus}, work / "tokenizer", replace=True)


def figures(name: str) -> dict[str, Any]:
    """What a process of its own found; None and why where it failed."""
    done = subprocess.run([sys.executable, __file__, *sys.argv[1:], "--worker", name], capture_output=True, text=True)
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if line.strip()]
        return {"heldout_bpc": None, "missing": lines[-1].strip()[:300] if lines else f"exit code {done.returncode}"}
    return json.loads(done.stdout.splitlines()[-1])


def hanlin_worker(options: argparse.Namespace) -> dict[str, Any]:
    """The room itself, without samples."""
    base = next(step for step in load_recipe(RECIPE, ROOMS).steps if step.name == "base")
    values = {name: value for name, value in base.values.items() if name not in base.room.inputs}
    put(values, "train", {"minutes": options.minutes, "batch_rows": ROWS})
    for name, value in {"sample_prompts": [], **parse_overrides(options.words)}.items():
        put(values, name, value)
    config = build(Pretrain, values, "pretrain")
    inputs = {name: open_artifact(options.work / name) for name in ("corpus", "tokenizer")}
    heldout = documents(inputs, "heldout")
    with tempfile.TemporaryDirectory(dir=options.work) as out:
        metrics = run(config, inputs, Path(out), silent).metrics
        model = load(Path(out)).model.eval()
    bpc = bits_per_character(model, heldout, config.model.context)
    return described(bpc, metrics["steps"], metrics["tokens"], metrics["seconds"], metrics["parameters"])


def nanochat_worker(options: argparse.Namespace) -> dict[str, Any]:
    inputs = {name: open_artifact(options.work / name) for name in ("corpus", "tokenizer")}
    tokenizer = load_tokenizer(inputs["tokenizer"].path)
    windows = Windows(documents(inputs, "train"), CONTEXT, ROWS, SEED, tokenizer.pad_id)
    peer = nanochat.new(options.nanochat, tokenizer.vocab_size, LAYERS, HEADS, WIDTH, CONTEXT, options.nanochat_rates)
    compile_without_trace(peer, windows)
    step, tokens, seconds = 0, 0, 0.0
    while seconds < options.minutes * 60:
        began = time.perf_counter()
        peer.schedule(step, seconds / (options.minutes * 60))
        batch = windows(step)
        float(peer.step(batch.ids_BT, batch.targets_BT.where(batch.targets_BT != IGNORED, nanochat.IGNORED)))
        seconds += time.perf_counter() - began
        step, tokens = step + 1, tokens + batch.num_trained
    bpc = bits_per_character(peer.model.eval(), documents(inputs, "heldout"), CONTEXT)
    return described(bpc, step, tokens, seconds, sum(p.numel() for p in peer.model.parameters()))


def compile_without_trace(peer: nanochat.Nanochat, windows: Windows) -> None:
    """Two steps, then the first weights and an optimizer that has seen nothing."""
    weights = {name: value.clone() for name, value in peer.model.state_dict().items()}
    batch = windows(0)
    for _ in range(2):
        float(peer.step(batch.ids_BT, batch.targets_BT.where(batch.targets_BT != IGNORED, nanochat.IGNORED)))
    peer.model.load_state_dict(weights)
    peer.optimizer.state.clear()


def documents(inputs: dict[str, Artifact], split: str) -> Documents:
    return open_shards(inputs["tokenizer"].path / "tokens", split, inputs["corpus"])


@torch.inference_mode()
def bits_per_character(logits_of: LogitsOf, heldout: Documents, context: int) -> float:
    """All held-out text, each token predicted once, in windows that do not overlap."""
    rows = [ids[i : i + context + 1].tolist() for ids in heldout for i in range(0, len(ids) - 1, context)]
    nats = 0.0
    for first in range(0, len(rows), ROWS):
        group = rows[first : first + ROWS]
        whole_BS = torch.tensor([[*row, *[IGNORED] * (context + 1 - len(row))] for row in group])
        logits_NV = logits_of(whole_BS[:, :-1].clamp(min=0)).flatten(0, 1).float()
        nats += float(F.cross_entropy(logits_NV, whole_BS[:, 1:].flatten(), ignore_index=IGNORED, reduction="sum"))
    return nats / math.log(2) / heldout.characters


def described(bpc: float, steps: int, tokens: int, seconds: float, parameters: int) -> dict[str, Any]:
    return {
        "heldout_bpc": round(bpc, 4),
        "steps": steps,
        "tokens": tokens,
        "tokens_per_second": round(tokens / seconds),
        "parameters": parameters,
        "peak_gigabytes": round(peak_bytes() / 1e9, 2),
    }


if __name__ == "__main__":
    main()
