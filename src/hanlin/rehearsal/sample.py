"""A small corpus instead of a large one, for a room that would read all of it: documents from all over it, or its first
conversations and its longest. The longest batch stays what it is."""

from __future__ import annotations

import heapq
from itertools import islice
from pathlib import Path
from typing import Any

from hanlin.core.run.artifact import Artifact, Manifest, open_artifact, write_manifest
from hanlin.core.run.errors import HanlinError
from hanlin.rehearsal.estimate import Scale
from hanlin.rehearsal.work import Made

TEXT_CHARACTERS = {"train": 1_000_000, "heldout": 10_000}
HELDOUT_ROWS, HELDOUT_LONGEST = 3, 1


def sample_corpus(
    path: str, out: str, most_rows: int, longest: int, tokenizer: str, model: str, context: int | None
) -> Made:
    """The corpus itself where it is small, or where the tokenizer (a folder, or "") has made its tokens already.

    model: a folder whose vocabulary was learned from a sample, or "": it makes texts longer than the real one will, so
    conversations that leave no room for a reply in its context, or in this one, are left out.
    """
    from hanlin.core.text.documents import write_rows
    from hanlin.core.text.shards import has_shards

    corpus = open_artifact(path, ("corpus",))
    assert corpus.manifest is not None
    manifest, metrics = corpus.manifest, corpus.manifest.metrics
    model = model if metrics["kind"] == "chat" else ""
    if not (model or _is_large(metrics, most_rows)) or (tokenizer and has_shards(Path(tokenizer) / "tokens", corpus)):
        return Made(path, "corpus", metrics)
    Path(out).mkdir(parents=True)
    training = _trainable(_few(corpus, "train", most_rows, longest), model, context)
    heldout = _trainable(_few(corpus, "heldout", HELDOUT_ROWS, HELDOUT_LONGEST), model, context)
    for split, rows in (("train", training), ("heldout", heldout), ("rejected", [])):
        write_rows(Path(out) / f"{split}.parquet", rows)
    facts: Any = (
        manifest.config,
        manifest.inputs,
        {},
        metrics,
        manifest.version,
        f"{manifest.id[:12]}-{Path(out).name}",
    )
    write_manifest(Path(out), Manifest("corpus", "collect", "sample", *facts))
    characters, rows = (metrics[name] - metrics[f"heldout_{name}"] for name in ("characters", "rows"))
    kept = max(1, sum(row.characters for row in training))
    return Made(out, "corpus", metrics, Scale(characters / kept, rows / max(1, len(training))))


def _is_large(metrics: dict[str, Any], most_rows: int) -> bool:
    if metrics["kind"] == "text":
        return metrics["characters"] > 2 * sum(TEXT_CHARACTERS.values())
    return metrics["rows"] > 2 * most_rows or metrics["heldout_rows"] > 2 * HELDOUT_ROWS


def _few(corpus: Artifact, split: Any, most_rows: int, longest: int) -> list[Any]:
    from hanlin.core.text.documents import read_rows

    assert corpus.manifest is not None
    metrics = corpus.manifest.metrics
    if metrics["kind"] == "text":
        heldout = metrics["heldout_characters"]
        characters = heldout if split == "heldout" else metrics["characters"] - heldout
        return [*islice(read_rows(corpus, split), 0, None, max(1, characters // TEXT_CHARACTERS[split]))]
    most_rows = 2 * most_rows if metrics["rows"] <= 2 * most_rows else most_rows
    rest = islice(read_rows(corpus, split), most_rows, None)
    return [*islice(read_rows(corpus, split), most_rows), *heapq.nlargest(longest, rest, lambda row: row.characters)]


def _trainable(rows: list[Any], model: str, context: int | None) -> list[Any]:
    """Those that `finetune` would not refuse; all of them without a model."""
    if not model:
        return rows
    from hanlin.core.model.opening import open_source
    from hanlin.core.text.chat import chat_tokenizer
    from hanlin.core.train.conversations import prepare

    source = open_source(model)
    tokenizer, most = chat_tokenizer(source.tokenizer), source.model.max_positions

    def fits(row: Any) -> bool:
        try:
            return bool(prepare([row], tokenizer, min(most, context or most)).examples)
        except HanlinError:
            return False

    return [row for row in rows if fits(row)]
