"""How long a person waits for `hanlin --help`, and `import hanlin`, as whole processes. Prints one JSON line.

python benchmarks/startup.py
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time

from hanlin.core.run.execute import machine_name

COMMANDS = {
    "python": [sys.executable, "-c", "pass"],
    "import hanlin": [sys.executable, "-c", "import hanlin"],
    "hanlin --help": [sys.executable, "-m", "hanlin.cli", "--help"],
    "hanlin pretrain --help": [sys.executable, "-m", "hanlin.cli", "pretrain", "--help"],
}
ROUNDS = 9


def main() -> None:
    seconds: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for turn in range(ROUNDS + 1):
        for name, command in COMMANDS.items():
            began = time.perf_counter()
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
            if turn:
                seconds[name].append(time.perf_counter() - began)
    medians = {name: round(statistics.median(times), 3) for name, times in seconds.items()}
    print(json.dumps({"benchmark": "startup", "machine": machine_name(), "seconds": medians}))


if __name__ == "__main__":
    main()
