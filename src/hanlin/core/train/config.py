"""The options of the one loop. Every training room has them under `train.`."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, field_validator, model_validator

from hanlin.core.run.config import Config


class Train(Config):
    """How long, how fast, how precisely. Either `minutes` or `steps` ends the run."""

    minutes: float | None = Field(
        5.0, gt=0, description="train this long; the schedule ends exactly then (compiling and samples not counted)"
    )
    steps: int | None = Field(
        None, ge=1, description="train this many steps instead of minutes; the same steps give the same bits"
    )
    batch_rows: int = Field(8, ge=1, description="rows of one optimizer step")
    micro_rows: int | None = Field(
        None, ge=1, description="rows computed at once; the rest is accumulated. Default: all of them"
    )
    matrix_rate: float = Field(0.02, gt=0, description="Muon's learning rate, for the matrices inside the blocks")
    embedding_rate: float = Field(0.003, gt=0, description="AdamW's learning rate, for embedding, head and norms")
    weight_decay: float = Field(0.0, ge=0, description="decoupled, for the matrices")
    warmup: float = Field(0.0, ge=0, lt=1, description="share of the run in which the learning rate rises")
    decay: float = Field(
        0.5, ge=0, le=1, description="share of the run, at its end, in which the learning rate falls to zero"
    )
    dtype: Literal["auto", "bfloat16", "float32"] = Field(
        "auto",
        description="of weights and activations; masters are float32. auto: bfloat16 where the processor multiplies it",
    )
    compile: Literal["auto", "on", "off"] = Field(
        "auto", description="torch.compile; auto uses it where a C++ compiler exists"
    )
    checkpoint_seconds: float = Field(30.0, ge=0, description="time between checkpoints; 0 writes one after every step")
    seed: int = Field(0, ge=0, description="decides initial weights and data order")

    @field_validator("compile", mode="before")
    @classmethod
    def _on_and_off_are_words(cls, value):
        """YAML reads a bare on or off as true or false."""
        return ("on" if value else "off") if isinstance(value, bool) else value

    @model_validator(mode="before")
    @classmethod
    def _steps_replace_minutes(cls, values):
        """`steps` alone turns the default minutes off; both given is a contradiction."""
        if isinstance(values, dict) and values.get("steps") is not None:
            if values.get("minutes") is not None:
                raise ValueError("give minutes or steps, not both")
            return {**values, "minutes": None}
        return values

    @model_validator(mode="after")
    def _has_an_end(self):
        if self.minutes is None and self.steps is None:
            raise ValueError("give minutes or steps: one of them ends the run")
        return self
