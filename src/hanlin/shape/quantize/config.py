"""Options of `hanlin quantize`."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, field_validator

from hanlin.core.run.config import Config

Format = Literal["f32", "f16", "q8_0"]


class Budget(Config):
    """How far a written model may be from the one it was made from. Outside of it nothing is sealed."""

    max_kl_nats: float = Field(gt=0, description="greatest mean divergence, nats per token")
    min_top1_agreement: float = Field(
        ge=0, le=1, description="least share of tokens whose likeliest next token stays the same"
    )


class Budgets(Config):
    """One budget for each format."""

    f32: Budget = Field(Budget(max_kl_nats=1e-6, min_top1_agreement=0.999), description="for F32 files")
    f16: Budget = Field(Budget(max_kl_nats=0.001, min_top1_agreement=0.99), description="for F16 files")
    q8_0: Budget = Field(Budget(max_kl_nats=0.02, min_top1_agreement=0.9), description="for Q8_0 files")


class Quantize(Config):
    """Which GGUF files to write, and how they are proven."""

    formats: list[Format] = Field(
        ["f16", "q8_0"],
        min_length=1,
        description="f32, f16 or q8_0; the first becomes model.gguf, the others model-FORMAT.gguf",
    )
    num_tokens: int = Field(8192, ge=1, description="held-out tokens the card compares on, at most")
    num_prompts: int = Field(12, ge=0, le=12, description="fixed prompts the card continues greedily with both models")
    reply_tokens: int = Field(32, ge=1, description="tokens of each such continuation")
    budgets: Budgets = Field(Budgets(), description="the greatest distance allowed, for each format")
    name: str = Field("", description="the model's name inside the file; empty takes the folder's name")
    licence: str = Field("", description="licence of the weights, as an SPDX name, stored inside the file")

    @field_validator("formats")
    @classmethod
    def _no_format_twice(cls, formats: list[Format]) -> list[Format]:
        if len(set(formats)) < len(formats):
            raise ValueError("each format at most once")
        return formats
