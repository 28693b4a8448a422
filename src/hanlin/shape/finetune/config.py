"""Options of `hanlin finetune`."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from hanlin.core.run.config import Config
from hanlin.core.train.config import Train


class FinetuneTrain(Train):
    """Gentler than pretraining. Not compiled: conversations differ in length, and each length would be compiled
    anew."""

    minutes: float | None = Field(1.0, gt=0, description="train this long; the schedule ends exactly then")
    matrix_rate: float = Field(0.002, gt=0, description="Muon's learning rate, for the matrices inside the blocks")
    embedding_rate: float = Field(0.001, gt=0, description="AdamW's learning rate, for embedding, head and norms")
    decay: float = Field(
        1.0, ge=0, le=1, description="share of the run, at its end, in which the learning rate falls to zero"
    )
    compile: Literal["auto", "on", "off"] = Field("off", description="torch.compile")


class Finetune(Config):
    """How a base model learns to answer: full supervised fine-tuning, loss on replies only."""

    train: FinetuneTrain = Field(FinetuneTrain(), description="the loop")
    sample_tokens: int = Field(100, ge=1, description="length of the sample replies during training")
    num_samples: int = Field(2, ge=0, description="held-out questions answered at 0, 25, 50, 75 and 100 % of the run")
