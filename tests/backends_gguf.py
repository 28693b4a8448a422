"""A small model with random weights as a GGUF file, for llama.cpp and our engine both."""

from __future__ import annotations

from pathlib import Path

import torch
from toy import small_decoder

from hanlin.core.model.families import qwen3
from hanlin.core.model.ggml import TYPES
from hanlin.core.model.gguf.writing import Source, parameters_of, write_gguf
from hanlin.core.text.tokenizer import Tokenizer


def write_small(path: Path, tokenizer: Tokenizer, context: int = 1024) -> Path:
    """Numbers in F16. It writes whole characters: tokens that are parts of some have no weight. Its logits are far
    enough apart that the likeliest token rarely hangs on rounding."""
    model = small_decoder(vocab_size=tokenizer.vocab_size, max_positions=context)
    parts = ["\ufffd" in text.decode(errors="replace") for text in tokenizer.token_bytes]
    with torch.no_grad():
        model.embed_tokens.weight.mul_(4)
        model.embed_tokens.weight[torch.tensor(parts)] = 0
    model.config["architectures"] = [*qwen3.ARCHITECTURES]
    write_gguf(path, Source(qwen3, model, parameters_of(model), tokenizer, "small"), TYPES["f16"])
    return path
