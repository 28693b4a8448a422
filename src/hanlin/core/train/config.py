"""The options of the one loop. Every training room has them under `train.`. What each costs and gains, measured:
benchmarks/README.md."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from pydantic import Field, field_validator, model_validator

from hanlin.core.run.config import Config

OptimizerName = Literal["muon", "adamw", "adamw8bit", "adafactor", "lion", "sgd", "rmsprop"]

ENDS = ("minutes", "steps", "tokens")

RATES: dict[str, float] = {
    "muon": 0.02,
    "adamw": 0.003,
    "adamw8bit": 0.003,
    "adafactor": 0.03,
    "lion": 0.0005,
    "sgd": 0.1,
    "rmsprop": 0.001,
}
"""Of matrices, training from scratch. A test holds it against each optimizer's own RATE."""


class Train(Config):
    """How long, how fast, how precisely. One of `minutes`, `steps` and `tokens` ends the run."""

    GENTLENESS: ClassVar[float] = 1.0
    """By which RATES are multiplied where no rate is given: rooms that change a model rather than make one."""
    EMBEDDING_RATE: ClassVar[float] = 0.003
    """Of AdamW, for what is no matrix inside a block."""

    minutes: float | None = Field(
        5.0, gt=0, description="train this long; the schedule ends exactly then (compiling and samples not counted)"
    )
    steps: int | None = Field(
        None, ge=1, description="train this many steps instead of minutes; the same steps give the same bits"
    )
    tokens: int | None = Field(None, ge=1, description="train until this many tokens have been trained instead")
    batch_rows: int = Field(8, ge=1, description="rows of one optimizer step, of all processes together")
    micro_rows: int | None = Field(
        None, ge=1, description="rows computed at once; the rest is accumulated. Default: all of them"
    )
    micro_tokens: int | None = Field(
        None, ge=1, description="tokens, padding included, computed at once: for rows of uneven length"
    )
    optimizer: OptimizerName = Field(
        "muon", description="muon (matrices inside the blocks; AdamW for the rest), or one for everything"
    )
    matrix_rate: float | None = Field(
        None, gt=0, description="learning rate of the matrices inside the blocks. Default: the optimizer's own"
    )
    embedding_rate: float | None = Field(
        None, gt=0, description="learning rate of embedding, head and norms. Default: AdamW's, else as above"
    )
    weight_decay: float = Field(0.0, ge=0, description="decoupled, for the matrices inside the blocks")
    clip: float | None = Field(None, gt=0, description="longest gradient: a longer one is shortened to this norm")
    schedule: Literal["wsd", "cosine", "linear", "constant"] = Field(
        "wsd", description="of the learning rate; wsd: rise, stay, fall"
    )
    warmup: float = Field(0.0, ge=0, lt=1, description="share of the run in which the learning rate rises")
    decay: float = Field(
        0.5, ge=0, le=1, description="wsd: share of the run, at its end, in which the learning rate falls"
    )
    final_rate: float = Field(0.0, ge=0, le=1, description="share of the learning rate that is left at the end")
    label_smoothing: float = Field(0.0, ge=0, lt=1, description="share of each target spread over all tokens")
    z_loss: float = Field(0.0, ge=0, description="weight of log² of the softmax's sum: keeps logits from drifting")
    ema: float | None = Field(
        None, gt=0, lt=1, description="keep an average of the weights with this decay a step, and save that"
    )
    dtype: Literal["auto", "bfloat16", "float32", "float8"] = Field(
        "auto",
        description="of weights and activations. auto: bfloat16 where the processor multiplies it; float8: bfloat16 "
        "with float8 products, on GPUs that have them (needs torchao)",
    )
    masters: Literal["float32", "none"] = Field(
        "float32", description="none: no float32 copy of bfloat16 weights; they are rounded at random, right on average"
    )
    recompute: bool = Field(False, description="keep no activations inside blocks, compute them again (less memory)")
    states_on: Literal["device", "cpu", "disk"] = Field(
        "device", description="where masters and optimizer states lie; disk: a memory-mapped file, paged as needed"
    )
    device: Literal["auto", "cpu", "cuda"] = Field("auto", description="auto: a GPU where torch sees one")
    compile: Literal["auto", "on", "off"] = Field(
        "auto", description="torch.compile; auto uses it where a C++ compiler exists"
    )
    parallel: Literal["ddp", "fsdp"] = Field(
        "ddp", description="under torchrun: whole models that share gradients, or models in shards (FSDP2)"
    )
    tensor_parallel: int = Field(1, ge=1, description="under torchrun: processes among which each matrix is divided")
    checkpoint_seconds: float = Field(30.0, ge=0, description="time between checkpoints; 0 writes one after every step")
    keep_last: int = Field(1, ge=1, description="checkpoints that are kept while training")
    keep_best: bool = Field(
        False, description="save the model of the milestone with the lowest held-out loss, not the last"
    )
    longest_first: bool = Field(False, description="read the longest batch again and again (hanlin rehearse)")
    seed: int = Field(0, ge=0, description="decides initial weights, data order, dropout and rounding")

    @field_validator("compile", mode="before")
    @classmethod
    def _on_and_off_are_words(cls, value: Any) -> Any:
        """YAML reads a bare on or off as true or false."""
        return ("on" if value else "off") if isinstance(value, bool) else value

    @field_validator("masters", mode="before")
    @classmethod
    def _none_is_a_word(cls, value: Any) -> Any:
        return "none" if value is None else value

    @model_validator(mode="before")
    @classmethod
    def _other_ends_replace_minutes(cls, values: Any) -> Any:
        """`steps` or `tokens` alone turns the default minutes off; two ends are a contradiction."""
        if isinstance(values, dict):
            given = [name for name in ENDS if values.get(name) is not None]
            if len(given) > 1:
                raise ValueError(f"give {' or '.join(given)}, not both")
            if given and given[0] != "minutes":
                return {**values, "minutes": None}
        return values

    @model_validator(mode="after")
    def _has_an_end(self) -> Train:
        if all(getattr(self, name) is None for name in ENDS):
            raise ValueError("give minutes, steps or tokens: one of them ends the run")
        return self

    @model_validator(mode="after")
    def _constant_has_no_end(self) -> Train:
        if self.schedule == "constant" and self.final_rate:
            raise ValueError("schedule=constant ends as it began: final_rate is for the others")
        return self

    @property
    def rate_of_the_rest(self) -> float:
        if self.embedding_rate is not None:
            return self.embedding_rate
        with_adamw = self.optimizer in ("muon", "adamw", "adamw8bit")
        return self.EMBEDDING_RATE if with_adamw else self.rate_of_matrices

    @property
    def rate_of_matrices(self) -> float:
        return RATES[self.optimizer] * self.GENTLENESS if self.matrix_rate is None else self.matrix_rate
