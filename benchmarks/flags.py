"""What each option of the loop costs and gains: tokens/s, peak memory, what is learned in the same steps. Prints one
JSON line.

    python benchmarks/flags.py runs/demo                  of a finished `hanlin demo`
    python benchmarks/flags.py runs/demo --only recompute,adamw8bit

Every line is a run of its own process with one option changed, against the plain run before it. Memory is the process's
largest resident set, Python and torch included (about 0.4 GB).
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from hanlin.core.run.artifact import read_manifest
from hanlin.core.run.events import EVENTS_FILE, read_events
from hanlin.core.run.execute import machine_name

PRETRAIN = {
    "plain": "",
    "compile=off": "train.compile=off",
    "dtype=float32": "train.dtype=float32",
    "micro_rows=2": "train.micro_rows=2",
    "recompute": "train.recompute=true",
    "masters=none": "train.masters=none",
    "states_on=disk": "train.states_on=disk",
    "ema=0.99": "train.ema=0.99",
    "clip=1": "train.clip=1",
    "z_loss=1e-4": "train.z_loss=0.0001",
    "label_smoothing=0.1": "train.label_smoothing=0.1",
    "adamw": "train.optimizer=adamw train.warmup=0.1",
    "adamw8bit": "train.optimizer=adamw8bit train.warmup=0.1",
    "adafactor": "train.optimizer=adafactor train.warmup=0.1",
    "lion": "train.optimizer=lion train.warmup=0.1",
    "checkpoint_seconds=0": "train.checkpoint_seconds=0",
}
FINETUNE = {
    "full": "",
    "full, pack": "pack=true",
    "lora": "tune=lora",
    "lora, dora": "tune=lora lora.dora=true",
    "lora, dropout=0.1": "tune=lora lora.dropout=0.1",
    "qlora": "tune=qlora",
    "embeddings": "tune=embeddings",
}


def main() -> None:
    options = parse()
    demo = options.demo
    made_of = f"corpus={demo}/corpus tokenizer={demo}/tokenizer model.depth=2 model.width=256 sample_prompts=[]"
    talk = f"model={demo}/base data={demo}/questions num_samples=0"
    found = {
        "pretrain": {
            n: run(f"pretrain {made_of}", flag, options) for n, flag in PRETRAIN.items() if wanted(n, options)
        },
        "finetune": {n: run(f"finetune {talk}", flag, options) for n, flag in FINETUNE.items() if wanted(n, options)},
    }
    print(json.dumps({"benchmark": "flags", "machine": machine_name(), "steps": options.steps, **found}))


def wanted(name: str, options: argparse.Namespace) -> bool:
    return not options.only or name in ("plain", "full") or name in options.only.split(",")


def run(command: str, flag: str, options: argparse.Namespace) -> dict[str, Any]:
    folder = Path(tempfile.mkdtemp(prefix="hanlin-flags-"))
    words = [*command.split(), *flag.split(), f"train.steps={options.steps}", f"out={folder / 'run'}"]
    process = subprocess.Popen([sys.executable, "-m", "hanlin.cli", *words], stdout=subprocess.DEVNULL)
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        return {"failed": process.returncode}
    steps = list(read_events(folder / "run" / EVENTS_FILE, "step"))
    metrics = read_manifest(folder / "run").metrics
    held = [event["loss"] for event in read_events(folder / "run" / EVENTS_FILE, "heldout_replies")]
    shutil.rmtree(folder)
    return {
        "tokens_per_second": round(statistics.median(event["tokens_per_second"] for event in steps)),
        "peak_gb": round(used.ru_maxrss / 2**20, 2),
        "heldout": round(metrics.get("heldout_bpc", held[-1] if held else metrics["loss"]), 3),
    }


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("demo", type=Path, help="folder of a finished demo")
    parser.add_argument("--steps", type=int, default=150)
    parser.add_argument("--only", default="", help="names of options, by commas")
    return parser.parse_args()


if __name__ == "__main__":
    main()
