"""The life cycle as one ordered table. The CLI, the Python API, the documentation and the tests all read it."""

from __future__ import annotations

from hanlin.core.run.execute import Room

_TABLE = (
    Room(
        "collect",
        "hanlin.make.collect",
        {
            "sources": ("source", "corpus"),
            "against": ("source", "corpus"),
            "evaluation": ("source", "corpus"),
            "good_examples": ("source", "corpus"),
            "bad_examples": ("source", "corpus"),
            "model": ("model",),
            "tokenizer": ("tokenizer",),
        },
        "corpus",
        "text you own → clean rows with source, year, type and split",
        frozenset({"against", "evaluation", "good_examples", "bad_examples", "model", "tokenizer"}),
        version=2,
    ),
    Room(
        "tokenize",
        "hanlin.make.tokenize",
        {"corpus": ("corpus",)},
        "tokenizer",
        "corpus → byte-level BPE vocabulary and token shards",
    ),
    Room(
        "pretrain",
        "hanlin.make.pretrain",
        {"corpus": ("corpus",), "tokenizer": ("tokenizer",), "base": ("model",), "replay": ("corpus",)},
        "model",
        "tokens → base model, new or trained on",
        frozenset({"tokenizer", "base", "replay"}),
        together=True,
    ),
    Room(
        "finetune",
        "hanlin.shape.finetune",
        {"model": ("model",), "data": ("corpus",), "teacher": ("model",)},
        "model",
        "base model + conversations → chat model, or an adapter",
        frozenset({"teacher"}),
        together=True,
    ),
    Room(
        "merge",
        "hanlin.shape.merge",
        {"adapter": ("adapter",), "model": ("model",)},
        "model",
        "adapter + its base → one model, with a card",
        frozenset({"model"}),
    ),
    Room(
        "quantize",
        "hanlin.shape.quantize",
        {"model": ("model",), "corpus": ("corpus",)},
        "model",
        "model → GGUF (F16, Q8_0) with a card",
        frozenset({"corpus"}),
    ),
    Room(
        "evaluate",
        "hanlin.trust.evaluate",
        {
            "model": ("model", "adapter"),
            "before": ("model", "adapter"),
            "corpus": ("corpus",),
            "data": ("corpus",),
        },
        "report",
        "model → the quality ledger: one table before/after",
        frozenset({"before", "corpus", "data"}),
    ),
)

ROOMS: dict[str, Room] = {room.name: room for room in _TABLE}
"""Room by name, in life-cycle order."""
