"""tokenize: learn a vocabulary from a corpus, write the tokenizer and the corpus' token shards."""

from __future__ import annotations

import json
import time
from pathlib import Path

from tokenizers import Tokenizer as Backend

from hanlin.core.run.artifact import Artifact, write_atomic, write_json
from hanlin.core.run.errors import HanlinError
from hanlin.core.run.events import Emit
from hanlin.core.run.execute import Result
from hanlin.core.run.sources import fetch
from hanlin.core.text.chat import CHATML
from hanlin.core.text.documents import read_rows
from hanlin.core.text.shards import open_shards, write_shards
from hanlin.core.text.tokenizer import END_OF_TEXT, PAD, TOKENIZER_FILE, Tokenizer, load_tokenizer
from hanlin.make.tokenize import bpe
from hanlin.make.tokenize.config import Tokenize

SETTINGS = {
    "tokenizer_class": "PreTrainedTokenizerFast",
    "clean_up_tokenization_spaces": False,
    "add_bos_token": False,
    "bos_token": None,
    "eos_token": END_OF_TEXT,
    "pad_token": PAD,
    "ggml_pre": "qwen2",
    "chat_template": CHATML,
}


def run(config: Tokenize, inputs: dict[str, Artifact], out: Path, emit: Emit) -> Result:
    corpus = inputs["corpus"]
    tokenizer, seconds = _learn(config, corpus, out, emit)
    write_shards(corpus, tokenizer, out / "tokens", emit)
    heldout = open_shards(out / "tokens", "heldout", corpus)
    training = open_shards(out / "tokens", "train", corpus)
    rates = {}
    if heldout.characters:
        rates = {"hanlin": round(heldout.characters / (heldout.num_tokens - len(heldout)), 4)}
        rates |= _yardsticks(config.yardsticks, corpus, emit)
    metrics = {
        "vocab_size": tokenizer.vocab_size,
        "characters_per_token": rates,
        "train_tokens": training.num_tokens,
        "heldout_tokens": heldout.num_tokens,
        "learning_seconds": round(seconds, 1),
    }
    write_json(out / "report.json", metrics)
    write_atomic(out / "report.md", _report(metrics))
    return Result(metrics, method="bpe")


def _learn(config: Tokenize, corpus: Artifact, out: Path, emit: Emit) -> tuple[Tokenizer, float]:
    """The tokenizer, learned now or found finished in `out` (an interrupted run)."""
    if (out / TOKENIZER_FILE).exists() and (out / "tokenizer_config.json").exists():
        return load_tokenizer(out), 0.0
    emit("progress", what="merges", done=0, total=config.vocab_size)
    began = time.monotonic()
    texts = [row.text for row in read_rows(corpus, "train") if row.text]
    if not texts:
        raise HanlinError(
            f"{corpus.path} has no text rows to learn from.",
            "a text corpus (conversations alone are too few)",
            "hanlin collect sources=… rows=text",
            "src/hanlin/make/tokenize/README.md",
        )
    backend = bpe.train(
        bpe.sample(texts, config.sample_characters, config.seed), config.vocab_size, config.piece_characters
    )
    if backend.get_vocab_size() < config.vocab_size:
        emit(
            "note",
            text=f"The corpus is small: it gave {backend.get_vocab_size()} tokens of the {config.vocab_size} wanted.",
        )
    tokenizer = Tokenizer(backend, SETTINGS)
    tokenizer.save(out)
    return tokenizer, time.monotonic() - began


def _yardsticks(addresses: dict[str, str], corpus: Artifact, emit: Emit) -> dict[str, float]:
    """Characters per token of known tokenizers on the same held-out text, where they can be had."""
    rates = {}
    texts = [row.text for row in read_rows(corpus, "heldout") if row.text]
    for name, address in addresses.items():
        try:
            path = fetch(address, emit).path
            other = Backend.from_str(json.dumps(json.loads(path.read_text(encoding="utf-8"))))
        except (HanlinError, OSError, ValueError) as error:
            emit("note", text=f"The yardstick {name} is left out: {str(error).splitlines()[0]}")
            continue
        num_tokens = sum(len(encoding) for encoding in other.encode_batch_fast(texts, add_special_tokens=False))
        rates[name] = round(sum(map(len, texts)) / max(1, num_tokens), 4)
    return rates


def _report(metrics: dict) -> str:
    rows = "\n".join(f"| {name} | {rate:.2f} |" for name, rate in metrics["characters_per_token"].items())
    return (
        f"# 斷詞器\n\n詞彙 {metrics['vocab_size']:,} 個詞元；訓練文字共 {metrics['train_tokens']:,} 個詞元。\n\n"
        f"| 斷詞器 | 保留文字上每個詞元的字元數 |\n|---|---|\n{rows}\n"
    )
