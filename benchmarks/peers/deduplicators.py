"""datatrove's and text-dedup's MinHash over a folder of .jsonl files, each run by the Python of its own environment:

    python deduplicators.py datatrove FOLDER OUT NGRAM BANDS ROWS WORKERS

Writes OUT/clusters.json, {row's id: cluster}, and prints the seconds of its stages. Imports nothing of hanlin.
"""

from __future__ import annotations

import json
import pickle
import struct
import subprocess
import sys
import time
from pathlib import Path

DATATROVE = ["datatrove[io]==0.10.1", "xxhash<4", "regex", "tokenizers"]
TEXT_DEDUP = ["text-dedup==0.4.0"]
TEXT_DEDUP_NEEDS = [
    "bitarray",
    "click<9",
    "click-option-group<0.6",
    "datasets",
    "ftfy",
    "numpy",
    "psutil",
    "regex",
    "rich",
    "scipy",
    "setuptools<81",
    "tqdm",
    "xxhash",
]
"""What its MinHash imports. Its whole closure has Spark and TensorFlow in it."""


def ids_of(folder: Path) -> list[list[str]]:
    """The rows' ids, file by file."""
    return [[json.loads(line)["id"] for line in path.open(encoding="utf-8")] for path in sorted(folder.glob("*.jsonl"))]


def datatrove(folder: Path, out: Path, ngram: int, bands: int, rows: int, workers: int) -> dict[str, int]:
    """The four stages of its example minhash_deduplication.py, with characters as its words."""
    from datatrove.executor import LocalPipelineExecutor
    from datatrove.pipeline.dedup import (
        MinhashDedupBuckets,
        MinhashDedupCluster,
        MinhashDedupFilter,
        MinhashDedupSignature,
    )
    from datatrove.pipeline.dedup.minhash import MinhashConfig
    from datatrove.pipeline.readers import JsonlReader
    from datatrove.pipeline.writers import JsonlWriter
    from datatrove.utils.word_tokenizers import WordTokenizer

    class Characters(WordTokenizer):
        def word_tokenize(self, text: str) -> list[str]:
            return [character for character in text if not character.isspace()]

        def sent_tokenize(self, text: str) -> list[str]:
            return [text]

        def span_tokenize(self, text: str) -> list[tuple[int, int]]:
            return [(0, len(text))]

    config = MinhashConfig(n_grams=ngram, num_buckets=bands, hashes_per_bucket=rows)
    files = len(list(folder.glob("*.jsonl")))
    places = {name: str(out / name) for name in ("signatures", "buckets", "removed", "kept")}

    def execute(name: str, pipeline: list, tasks: int) -> None:
        began = time.perf_counter()
        executor = LocalPipelineExecutor(
            pipeline=pipeline, tasks=tasks, workers=min(workers, tasks), logging_dir=str(out / "logs" / name)
        )
        executor.run()
        print(f"{name}: {time.perf_counter() - began:.1f} s")

    reader = JsonlReader(str(folder), glob_pattern="*.jsonl")
    signature = MinhashDedupSignature(output_folder=places["signatures"], config=config, language=Characters())
    execute("signatures", [reader, signature], files)
    buckets = MinhashDedupBuckets(places["signatures"], places["buckets"], config=config)
    execute("buckets", [buckets], bands)
    cluster = MinhashDedupCluster(places["buckets"], places["removed"], config=config, save_cluster_id=True)
    execute("clusters", [cluster], 1)
    writer = JsonlWriter(places["kept"], compression=None)
    execute("filter", [reader, MinhashDedupFilter(places["removed"]), writer], files)
    clusters = {}
    for number, ids in enumerate(ids_of(folder)):
        path = out / "removed" / f"{number:06d}.clusters"
        if path.exists():
            clusters |= {ids[row]: name for row, name in struct.iter_unpack("<2I", path.read_bytes())}
    return clusters


def text_dedup(folder: Path, out: Path, ngram: int, bands: int, rows: int, workers: int) -> dict[str, int]:
    """Its command. It takes what stands between \\W as words, so the texts come with blanks between characters."""
    command = [sys.executable, "-m", "text_dedup.minhash", "--path", "json", "--data_files", str(folder / "*.jsonl")]
    command += ["--split", "train", "--cache_dir", str(out / "cache"), "--output", str(out / "kept")]
    command += ["--column", "text", "--ngram", str(ngram), "--num_perm", str(bands * rows), "--min_length", str(ngram)]
    command += ["--b", str(bands), "--r", str(rows), "--num_proc", str(workers), "--debug", "--hash_func", "xxh3"]
    subprocess.run(command, check=True, stdout=sys.stderr)
    ids = [name for file in ids_of(folder) for name in file]
    with (out / "kept" / "uf.pkl").open("rb") as file:
        found = pickle.load(file)  # this very process wrote it
    return {ids[row]: found.find(row) for row in list(found.parent)}


def main() -> None:
    name, folder, out, *numbers = sys.argv[1:]
    began = time.perf_counter()
    run = {"datatrove": datatrove, "text_dedup": text_dedup}[name]
    clusters = run(Path(folder), Path(out), *map(int, numbers))
    (Path(out) / "clusters.json").write_text(json.dumps(clusters), encoding="utf-8")
    print(f"{name}: {time.perf_counter() - began:.1f} s")


if __name__ == "__main__":
    main()
