"""Options of `hanlin pretrain`."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from hanlin.core.run.config import Config
from hanlin.core.train.config import Train


class Model(Config):
    """One dial, `depth`, sizes a new model; each number can also be set by itself."""

    depth: int = Field(4, ge=1, le=64, description="blocks; width, heads and feed-forward follow from it")
    width: int | None = Field(None, ge=64, multiple_of=64, description="of the residual stream; default 64 × depth")
    kv_heads: int | None = Field(None, ge=1, description="causal: key/value heads; default half of the heads")
    hidden: int | None = Field(
        None, ge=32, multiple_of=32, description="feed-forward width; default 3 × width, masked 4 × width"
    )
    context: int = Field(256, ge=16, description="tokens the model sees at once")
    rope_theta: float = Field(10_000.0, gt=0, description="causal: base of the rotary position embedding")


class Pretrain(Config):
    """How a base model is made from token shards, or an existing one trained on."""

    objective: Literal["causal", "masked", "span_corruption"] = Field(
        "causal",
        description="causal: the next token (Qwen3); masked: hidden tokens, from both sides (BERT); span_corruption: "
        "what was cut out (T5)",
    )
    model: Model = Field(Model(), description="size of a new model; with base=… its context alone counts")
    train: Train = Field(Train(), description="the loop; with base=… learning rates are a tenth unless given")
    data_order: Literal["shuffled", "as_written"] = Field(
        "shuffled",
        description="windows by chance, another order in each epoch; as_written: in the corpus' own order, for a "
        "curriculum (collect mix.order=short_first)",
    )
    certify: bool = Field(False, description="prove that a killed run resumes to the same bits, before training")
    initial_embedding: Literal["cooccurrence", "random"] = Field(
        "cooccurrence", description="first embeddings: from counted neighbours (a faster start), or random numbers"
    )
    corrupted_share: float = Field(
        0.15, gt=0, le=0.5, description="masked and span_corruption: share of the tokens that is hidden or cut out"
    )
    span_tokens: float = Field(3.0, ge=1, description="span_corruption: mean length of what is cut out")
    replay_share: float = Field(0.1, gt=0, lt=1, description="with replay=…: share of the rows that come from it")
    sample_prompts: tuple[str, ...] = Field(
        ("人民之", "本件聲請", "依憲法第二十二條"),
        description="causal: continued at 0, 25, 50, 75 and 100 % of the run",
    )
    sample_tokens: int = Field(60, ge=1, description="length of each sample")
    heldout_tokens: int = Field(400_000, ge=1, description="most tokens of the held-out split read at the end")


class ContinuedTrain(Train):
    """A model that exists is trained more gently than one that is new."""

    GENTLENESS: ClassVar[float] = 0.1

    EMBEDDING_RATE: ClassVar[float] = 0.0003
