"""Options of `hanlin merge`."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from hanlin.core.run.config import Config


class Merge(Config):
    """How the merged model is stored, and how it is proven."""

    dtype: Literal["auto", "float32", "bfloat16", "float16"] = Field(
        "auto", description="of the stored weights; auto is the base's own (float32 for a GGUF file)"
    )
    num_tokens: int = Field(2048, ge=1, description="tokens the merged model is compared on, at most")
    num_prompts: int = Field(12, ge=0, le=12, description="fixed prompts that both models continue greedily")
    reply_tokens: int = Field(32, ge=1, description="tokens of each such continuation")
    max_kl_nats: float = Field(0.01, gt=0, description="greatest mean divergence allowed, nats per token")
    min_top1_agreement: float = Field(
        0.95, ge=0, le=1, description="least share of tokens whose likeliest next token has to stay the same"
    )
