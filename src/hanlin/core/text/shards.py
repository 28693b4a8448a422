"""Token shards: a corpus as ids on disk, memory-mapped. Made once, keyed by corpus and tokenizer, resumable shard by
shard.

    tokens/  index.json  train-00000.npy  train-00000.starts.npy  heldout-00000.npy  …

A shard holds its documents one after another, each beginning with the document token; `starts` are their first places.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np

from hanlin.core.run.artifact import Artifact, write_atomic, write_json
from hanlin.core.run.errors import HanlinError
from hanlin.core.run.events import Emit
from hanlin.core.text.documents import Row, read_rows
from hanlin.core.text.tokenizer import Tokenizer

SHARD_CHARACTERS = 4_000_000
BATCH_CHARACTERS = 400_000
INDEX_FILE = "index.json"


@dataclass(frozen=True)
class Documents:
    """The documents of one split. `ids(i)` is a view into the memory map; `characters` counts the whole split."""

    shards: tuple[np.ndarray, ...]
    starts: tuple[np.ndarray, ...]
    names: tuple[str, ...]
    lengths: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.names)

    @property
    def num_tokens(self) -> int:
        return sum(len(shard) for shard in self.shards)

    @property
    def characters(self) -> int:
        return sum(self.lengths)

    def __iter__(self) -> Iterator[np.ndarray]:
        for shard, starts in zip(self.shards, self.starts):
            bounds = [*starts.tolist(), len(shard)]
            for first, end in pairwise(bounds):
                yield shard[first:end]


def write_shards(corpus: Artifact, tokenizer: Tokenizer, folder: Path, emit: Emit) -> None:
    """Encode the corpus' train and held-out text into `folder`. Shards already there are kept."""
    folder.mkdir(exist_ok=True)
    index: dict = {"corpus": corpus.id, "splits": {}}
    for split in ("train", "heldout"):
        entries = []
        for number, rows in enumerate(_groups(read_rows(corpus, split), SHARD_CHARACTERS)):
            entries.append(_write_shard(folder / f"{split}-{number:05d}", rows, tokenizer))
            emit("progress", what=f"tokens ({split})", done=sum(len(e["names"]) for e in entries), total=None)
        index["splits"][split] = entries
    write_json(folder / INDEX_FILE, index)


def open_shards(folder: Path, split: str, corpus: Artifact) -> Documents:
    """Memory-map a split. Raises HanlinError when the shards belong to another corpus."""
    try:
        index = json.loads((folder / INDEX_FILE).read_text(encoding="utf-8"))
    except OSError:
        raise HanlinError(
            f"{folder} has no token shards.",
            "shards made by hanlin tokenize",
            "hanlin tokenize corpus=…",
            "src/hanlin/make/tokenize/README.md",
        ) from None
    if index["corpus"] != corpus.id:
        raise HanlinError(
            f"{folder} was made from another corpus.",
            f"shards of {corpus.path}",
            f"hanlin tokenize corpus={corpus.path}",
            "src/hanlin/make/tokenize/README.md",
        )
    entries = index["splits"][split]
    return Documents(
        shards=tuple(np.load(folder / f"{e['file']}.npy", mmap_mode="r") for e in entries),
        starts=tuple(np.load(folder / f"{e['file']}.starts.npy") for e in entries),
        names=tuple(name for e in entries for name in e["names"]),
        lengths=tuple(length for e in entries for length in e["characters"]),
    )


def has_shards(folder: Path, corpus: Artifact) -> bool:
    path = folder / INDEX_FILE
    return path.exists() and json.loads(path.read_text(encoding="utf-8"))["corpus"] == corpus.id


def _groups(rows: Iterator[Row], limit: int) -> Iterator[list[Row]]:
    group: list[Row] = []
    size = 0
    for row in rows:
        group.append(row)
        size += len(row.text)
        if size >= limit:
            yield group
            group, size = [], 0
    if group:
        yield group


def _write_shard(path: Path, rows: Sequence[Row], tokenizer: Tokenizer) -> dict:
    entry = {"file": path.name, "names": [row.id for row in rows], "characters": [len(row.text) for row in rows]}
    target, starts_target = path.with_name(path.name + ".npy"), path.with_name(path.name + ".starts.npy")
    if target.exists() and starts_target.exists():
        return entry
    kind = np.uint16 if tokenizer.vocab_size <= 2**16 else np.uint32
    parts = [np.asarray([tokenizer.document_id, *ids], dtype=kind) for ids in _encode(rows, tokenizer)]
    starts = np.cumsum([0] + [len(part) for part in parts[:-1]])
    _save(target, np.concatenate(parts))
    _save(starts_target, starts.astype(np.int64))
    return entry


def _encode(rows: Sequence[Row], tokenizer: Tokenizer) -> Iterator[list[int]]:
    for group in _groups(iter(rows), BATCH_CHARACTERS):
        yield from tokenizer.encode_batch([row.text for row in group])


def _save(path: Path, array: np.ndarray) -> None:
    """Through memory: numpy's own writing to a full disk fails without the system's number."""
    buffer = io.BytesIO()
    np.save(buffer, array)
    write_atomic(path, buffer.getvalue())
