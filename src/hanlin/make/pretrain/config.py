"""Options of `hanlin pretrain`."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from hanlin.core.run.config import Config
from hanlin.core.train.config import Train


class Model(Config):
    """One dial, `depth`, sizes a Qwen3-shaped decoder; each number can also be set by itself."""

    depth: int = Field(4, ge=1, le=64, description="blocks; width, heads and feed-forward follow from it")
    width: int | None = Field(None, ge=64, multiple_of=64, description="of the residual stream; default 64 × depth")
    kv_heads: int | None = Field(None, ge=1, description="key/value heads; default half of the heads")
    hidden: int | None = Field(None, ge=32, multiple_of=32, description="feed-forward width; default 3 × width")
    context: int = Field(256, ge=16, description="tokens the model sees at once")
    rope_theta: float = Field(10_000.0, gt=0, description="base of the rotary position embedding")


class Pretrain(Config):
    """How a base model is made from token shards."""

    model: Model = Field(Model(), description="its size")
    train: Train = Field(Train(), description="the loop")
    initial_embedding: Literal["cooccurrence", "random"] = Field(
        "cooccurrence", description="first embeddings: from counted neighbours (a faster start), or random numbers"
    )
    sample_prompts: tuple[str, ...] = Field(
        ("人民之", "本件聲請", "依憲法第二十二條"), description="continued at 0, 25, 50, 75 and 100 % of the run"
    )
    sample_tokens: int = Field(60, ge=1, description="length of each sample")
    heldout_tokens: int = Field(400_000, ge=1, description="most tokens of the held-out split read at the end")
