"""Cutting text into pieces before BPE. Merges never cross a cut, so the pattern is part of the tokenizer."""

from __future__ import annotations

import json

from tokenizers import Regex, Tokenizer, decoders, models
from tokenizers.pre_tokenizers import ByteLevel, Sequence, Split

from hanlin.core.run.errors import HanlinError

QWEN2_PATTERN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
    r"|[^\r\n\p{L}\p{N}]?\p{L}+"
    r"|\p{N}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+"
    r"|\s+(?!\S)"
    r"|\s+"
)
"""English contractions, words, single digits, punctuation, line ends, spaces. llama.cpp knows it as "qwen2"."""


def new_backend() -> Tokenizer:
    """An empty byte-level BPE that cuts so. No normaliser; every byte has a symbol, so nothing is unknown."""
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = Sequence(
        [Split(Regex(QWEN2_PATTERN), "isolated"), ByteLevel(add_prefix_space=False, use_regex=False)]
    )
    backend.decoder = decoders.ByteLevel()
    return backend


GGML_PATTERNS = {"qwen2": QWEN2_PATTERN}
"""Patterns llama.cpp implements, by their name there (`tokenizer.ggml.pre`). A file can't bring its own pattern."""


def ggml_pre(tokenizer: Tokenizer, name: str) -> str:
    """`name`, when llama.cpp's pre-tokenizer of that name cuts as this tokenizer does. Raises HanlinError otherwise."""
    facts = json.loads(tokenizer.to_str())
    steps = (facts["pre_tokenizer"] or {}).get("pretokenizers", [])
    patterns = [
        step["pattern"].get("Regex") for step in steps if step["type"] == "Split" and step["behavior"] == "Isolated"
    ]
    byte_level = [
        step for step in steps if step["type"] == "ByteLevel" and not step["add_prefix_space"] and not step["use_regex"]
    ]
    known = patterns == [GGML_PATTERNS.get(name)] and len(byte_level) == 1 and len(steps) == 2
    # llama.cpp has no NFC: Qwen's own tokenizers carry it and are exported without by everyone.
    if not known or (facts["normalizer"] or {"type": "NFC"})["type"] != "NFC":
        raise HanlinError(
            f'The tokenizer does not cut text as llama.cpp\'s "{name}" does, so its ids would differ there.',
            f"pre-tokenizer pattern {' or '.join(GGML_PATTERNS)}, then bytes, without another normaliser",
            "use a tokenizer of hanlin tokenize, or one of the Qwen2 and Qwen3 models",
            "src/hanlin/shape/quantize/README.md",
        )
    return name
