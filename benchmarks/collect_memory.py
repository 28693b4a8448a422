"""Memory and time of collect while its input grows tenfold. Prints one JSON line.

    python benchmarks/collect_memory.py                          100 MB and 1 GB of made-up text
    python benchmarks/collect_memory.py --megabytes 10 100       a quicker look
    python benchmarks/collect_memory.py engine=pool 'steps=[normalise, exact]'

Rows of about 1,500 characters; one in ten is an exact duplicate of an earlier one, one in ten has a changed sentence.
Each size runs `hanlin collect` in a process of its own. peak_mib is the largest sum of the proportional memory (PSS) of
that process and its workers, seen ten times a second; index_mib is what the MinHash signatures of all rows take.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from hanlin.core.run.execute import machine_name
from hanlin.make.collect.steps.near import Near

ROW_CHARS = 1500
COMMON_HAN = 3000
STEPS = "steps=[normalise, exact, near]"


def write_text(path: Path, megabytes: int, seed: int = 0) -> int:
    """JSON Lines of `megabytes` MB in UTF-8. Returns the number of rows."""
    chance = np.random.default_rng(seed)
    weights = 1 / np.arange(1, COMMON_HAN + 1)
    letters = np.arange(0x4E00, 0x4E00 + COMMON_HAN, dtype=np.uint32)
    letters[:2] = ord("，"), ord("。")
    written = rows = 0
    earlier: list[np.ndarray] = []
    with path.open("w", encoding="utf-8") as file:
        while written < megabytes * 1_000_000:
            codes = chance.choice(letters, ROW_CHARS, p=weights / weights.sum())
            kind = chance.random()
            if earlier and kind < 0.2:
                codes = earlier[chance.integers(len(earlier))].copy()
                if kind < 0.1:
                    codes[700:720] = chance.choice(letters[2:], 20)
            elif len(earlier) < 1000:
                earlier.append(codes)
            line = json.dumps({"text": codes.tobytes().decode("utf-32-le")}, ensure_ascii=False) + "\n"
            file.write(line)
            written += len(line.encode())
            rows += 1
    return rows


def measured(source: Path, out: Path, words: list[str]) -> dict[str, Any]:
    """Seconds and the peak of the memory of one `hanlin collect` and its workers."""
    program = "import sys; from hanlin.cli import main; sys.argv[0] = 'hanlin'; main()"
    command = [sys.executable, "-c", program, "collect", f"sources={source}", f"out={out}", STEPS, *words]
    began = time.monotonic()
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
        watch = Watch(process.pid)
        error = process.stderr.read() if process.stderr else ""
        if process.wait():
            raise SystemExit(error)
        peak = watch.stop()
    manifest = json.loads((out / "manifest.json").read_text(encoding="utf-8"))
    return {"seconds": round(time.monotonic() - began, 1), "peak_mib": peak >> 20, "rows": manifest["metrics"]["rows"]}


class Watch:
    """The largest sum of PSS of a process and its children."""

    def __init__(self, pid: int):
        self._process, self._peak, self._over = psutil.Process(pid), 0, threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._thread.start()

    def stop(self) -> int:
        self._over.set()
        self._thread.join()
        return self._peak

    def _look(self) -> None:
        while not self._over.wait(0.1):
            total = 0
            try:
                for process in (self._process, *self._process.children(recursive=True)):
                    total += process.memory_full_info().pss
            except psutil.Error:
                continue
            self._peak = max(self._peak, total)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--megabytes", type=int, nargs="+", default=[100, 1000])
    options, words = parser.parse_known_args()
    line: dict[str, Any] = {"benchmark": "collect_memory", "machine": machine_name(), "steps": STEPS, "sizes": []}
    with tempfile.TemporaryDirectory() as folder:
        for megabytes in options.megabytes:
            source = Path(folder) / f"{megabytes}.jsonl"
            num_rows = write_text(source, megabytes)
            found = measured(source, Path(folder) / f"out-{megabytes}", words)
            index = num_rows * Near().num_perm * 4 >> 20
            line["sizes"].append({"megabytes": megabytes, "rows_read": num_rows, "index_mib": index, **found})
            source.unlink()
    print(json.dumps(line))


if __name__ == "__main__":
    main()
