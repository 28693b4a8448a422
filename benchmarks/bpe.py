"""Learning a vocabulary: ours (sampled documents, bounded pieces) beside the stock trainer on everything, unbounded.

    python benchmarks/bpe.py runs/demo/corpus

Prints one JSON line: seconds of each, and characters per token on the held-out split.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from tokenizers import Tokenizer
from tokenizers.pre_tokenizers import ByteLevel
from tokenizers.trainers import BpeTrainer

from hanlin.core.run.execute import machine_name
from hanlin.core.text.documents import read_rows
from hanlin.core.text.pretokenize import new_backend
from hanlin.core.text.tokenizer import SPECIAL_TOKENS
from hanlin.make.tokenize import bpe
from hanlin.make.tokenize.config import Tokenize


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("corpus", type=Path, help="a corpus artifact, as runs/demo/corpus")
    parser.add_argument("--alone", action="store_true", help="without the stock trainer, which takes minutes")
    options = parser.parse_args()
    training, heldout = ([row.text for row in read_rows(options.corpus, split)] for split in ("train", "heldout"))
    config = Tokenize()
    trainers: dict[str, Callable[[], Tokenizer]] = {
        "hanlin": lambda: bpe.train(
            bpe.sample(training, config.sample_characters, config.seed), config.vocab_size, config.piece_characters
        )
    }
    if not options.alone:
        trainers["stock"] = lambda: stock(training, config.vocab_size)
    seconds, rates = {}, {}
    for name, trainer in trainers.items():
        began = time.perf_counter()
        tokenizer = trainer()
        seconds[name] = round(time.perf_counter() - began, 1)
        num_tokens = sum(len(encoding) for encoding in tokenizer.encode_batch_fast(heldout, add_special_tokens=False))
        rates[name] = round(sum(map(len, heldout)) / num_tokens, 4)
    result = {
        "benchmark": "bpe",
        "machine": machine_name(),
        "cpus": os.cpu_count(),
        "characters": sum(map(len, training)),
        "vocab_size": config.vocab_size,
        "seconds": seconds,
        "characters_per_token": rates,
    }
    print(json.dumps(result))


def stock(texts: Iterable[str], vocab_size: int) -> Tokenizer:
    """tokenizers' own trainer with the same pattern, on all the text."""
    backend = new_backend()
    alphabet = ByteLevel.alphabet()
    trainer = BpeTrainer(
        vocab_size=vocab_size, initial_alphabet=alphabet, special_tokens=list(SPECIAL_TOKENS), show_progress=False
    )
    backend.train_from_iterator(texts, trainer)
    return backend


if __name__ == "__main__":
    main()
