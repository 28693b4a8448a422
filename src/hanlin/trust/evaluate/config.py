"""Options of `hanlin evaluate`."""

from __future__ import annotations

from pydantic import Field

from hanlin.core.run.config import Config


class Evaluate(Config):
    """What the ledger measures, and on how much."""

    heldout_tokens: int = Field(400_000, ge=1, description="most held-out tokens read for bits per character")
    num_questions: int = Field(
        12, ge=1, description="held-out questions answered for stop rate, repetition and Simplified leak"
    )
    reply_tokens: int = Field(160, ge=1, description="longest answer; one that reaches it has not stopped")
    num_prompts: int = Field(6, ge=1, description="text beginnings continued when there are no questions")
