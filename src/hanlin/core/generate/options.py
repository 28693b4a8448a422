"""What an engine may use: memory, texts at once, number formats, speculation."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from hanlin.core.run.config import Config


class EngineOptions(Config):
    """One engine's. What each reply looks like is its request's own `Sampling`."""

    max_streams: int = Field(16, ge=1, description="texts written at the same time; more wait in line")
    max_waiting: int = Field(64, ge=0, description="requests that may wait in line; the next one is refused")
    chunk_tokens: int = Field(512, ge=1, description="prompt tokens read in one step, between the others' next tokens")
    block_tokens: int = Field(32, ge=1, description="tokens in a block of the cache: the grain of what prompts share")
    cache_tokens: int = Field(
        0, ge=0, description="tokens the cache holds, of all texts together; 0: what memory_share allows"
    )
    memory_share: float = Field(
        0.25, gt=0, le=0.9, description="of the memory free at the start, the largest share the cache may take"
    )
    cache: Literal["plain", "int8"] = Field(
        "plain", description="keys and values as the model computes, or in 8 bits: half the memory of bfloat16"
    )
    share_prefixes: bool = Field(True, description="read the beginning that prompts have in common only once")
    weights: Literal["keep", "auto", "bfloat16", "int8", "int4"] = Field(
        "keep", description="number format of the matrices; auto takes the fastest here within the quality budget"
    )
    speculate: Literal["", "lookup", "draft", "early"] = Field(
        "", description="guess several tokens ahead: from the text itself, by a small model, or by the first layers"
    )
    num_draft: int = Field(4, ge=1, le=32, description="tokens guessed at a time")
    draft: str = Field("", description="the small model of speculate=draft, with the same tokenizer")
    early_layers: int = Field(0, ge=0, description="layers that guess with speculate=early; 0 takes a third")
