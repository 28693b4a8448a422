"""Options of `hanlin tokenize`."""

from __future__ import annotations

from pydantic import Field

from hanlin.core.run.config import Config


class Tokenize(Config):
    """How the vocabulary is learned."""

    vocab_size: int = Field(
        8192, ge=260, le=262_144, description="tokens in all: 256 bytes, 4 special tokens, the rest merges"
    )
    sample_characters: int = Field(
        4_000_000,
        ge=1,
        description="learn merges from this many characters of the training split, taken document by document",
    )
    piece_characters: int = Field(
        8, ge=1, le=10_000, description="while learning, longer runs without a space are cut after this many characters"
    )
    seed: int = Field(0, ge=0, description="decides which documents are sampled")
    yardsticks: dict[str, str] = Field(
        {},
        description="name → address of another model's tokenizer.json, to compare characters per token; "
        "left out where it can't be had",
    )
