"""Options of `hanlin finetune`."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from pydantic import Field, model_validator

from hanlin.core.run.config import Config
from hanlin.core.train.config import Train


class FinetuneTrain(Train):
    """Gentler than pretraining. Not compiled: conversations differ in length, and each length would be compiled
    anew."""

    GENTLENESS: ClassVar[float] = 0.1
    EMBEDDING_RATE: ClassVar[float] = 0.001

    minutes: float | None = Field(1.0, gt=0, description="train this long; the schedule ends exactly then")
    decay: float = Field(
        1.0, ge=0, le=1, description="wsd: share of the run, at its end, in which the learning rate falls"
    )
    compile: Literal["auto", "on", "off"] = Field("off", description="torch.compile")


class Lora(Config):
    """Two thin matrices beside each frozen one: y = W·x + (alpha / rank) · B·A·x. Of `tune=lora` and `tune=qlora`."""

    rank: int = Field(16, ge=1, description="width of the thin matrices")
    alpha: float = Field(32.0, gt=0, description="how much they count: alpha / rank, with rslora alpha / √rank")
    dropout: float = Field(0.0, ge=0, lt=1, description="share of their inputs left out while training")
    targets: tuple[str, ...] = Field(
        ("all-linear",),
        description="which matrices: all-linear (inside the blocks), or names such as q_proj, embed_tokens",
    )
    rslora: bool = Field(False, description="count them alpha / √rank (steadier at high ranks)")
    dora: bool = Field(False, description="learn each row's length by itself (weight-decomposed LoRA)")
    rate: float = Field(0.0005, gt=0, description="learning rate of A, and of B unless plus_ratio says otherwise")
    plus_ratio: float = Field(1.0, gt=0, description="LoRA+: B's learning rate as a multiple of A's")


class Distil(Config):
    """Learning from a larger model's probabilities. Used where the input `teacher` is given."""

    top_k: int = Field(64, ge=1, description="likeliest tokens of the teacher that are kept, at each trained place")
    direction: Literal["forward", "reverse"] = Field(
        "forward", description="KL(teacher‖student) covers all the teacher says; reverse keeps to its surest"
    )
    temperature: float = Field(1.0, gt=0, description="above 1 shows more of the unlikely tokens")
    share: float = Field(0.5, ge=0, le=1, description="of the loss that is the teacher's; the rest is the text's own")


class Draft(Config):
    """A small model that guesses what the large one will say. Of `method=draft`."""

    layers: int = Field(0, ge=0, description="blocks it has, taken from the model; 0 takes a sixth")
    prompts: int = Field(1000, ge=1, description="the most prompts of the data that the model answers")
    prompt_tokens: int = Field(32, ge=1, description="of a plain text: the beginning that the model continues")
    reply_tokens: int = Field(128, ge=1, description="the longest answer the model writes")
    temperature: float = Field(0.7, ge=0, le=100, description="of those answers")
    train_embeddings: bool = Field(False, description="embedding and head learn too, else they stay the model's")
    num_draft: int = Field(4, ge=1, le=32, description="tokens guessed at a time where acceptance is measured")
    measured_prompts: int = Field(16, ge=1, description="held-out prompts with which acceptance is measured")


class Finetune(Config):
    """How a base model learns to answer: supervised fine-tuning, loss on replies only; or how a draft is made of it."""

    method: Literal["sft", "draft"] = Field(
        "sft", description="sft: learn to answer; draft: a small model that guesses for this one (engine.draft=)"
    )
    tune: Literal["full", "lora", "qlora", "embeddings"] = Field(
        "full",
        description="what is trained: all, thin matrices beside frozen ones (qlora: the frozen in 4 bit), or "
        "embeddings alone",
    )
    frozen_layers: int = Field(0, ge=0, description="tune=full: the first blocks that stay as they are")
    lora: Lora = Field(Lora(), description="tune=lora and tune=qlora")
    distil: Distil = Field(Distil(), description="with a teacher, and method=draft")
    draft: Draft = Field(Draft(), description="method=draft")
    pack: bool = Field(
        False, description="several conversations in one row, hidden from each other; else equal lengths together"
    )
    context: int | None = Field(None, ge=8, description="longest row in tokens. Default: what the model reads at once")
    train: FinetuneTrain = Field(FinetuneTrain(), description="the loop")
    certify: bool = Field(False, description="prove that a killed run resumes to the same bits, before training")
    sample_tokens: int = Field(100, ge=1, description="length of the sample replies during training")
    num_samples: int = Field(2, ge=0, description="held-out questions answered at 0, 25, 50, 75 and 100 % of the run")

    @model_validator(mode="before")
    @classmethod
    def _a_draft_learns_from_the_model_alone(cls, values: Any) -> Any:
        """The text is the model's own: what it might have said besides tells more than what it happened to say."""
        if isinstance(values, dict) and values.get("method") == "draft":
            distil = values.get("distil", {})
            if isinstance(distil, dict) and "share" not in distil:
                return {**values, "distil": {**distil, "share": 1.0}}
        return values

    @model_validator(mode="before")
    @classmethod
    def _adapters_take_adamw(cls, values: Any) -> Any:
        """Muon is for matrices that map states to states; thin ones, and a choice of their own, are AdamW's."""
        if isinstance(values, dict) and values.get("tune") in ("lora", "qlora", "embeddings"):
            train = values.get("train", {})
            if isinstance(train, dict) and "optimizer" not in train:
                return {**values, "train": {**train, "optimizer": "adamw"}}
        return values
