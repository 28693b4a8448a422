"""The one training loop. A method supplies batches and an objective; the loop owns time, precision, memory, processes,
resume and the log."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from hanlin.core.run.errors import HanlinError
from hanlin.core.run.events import EVENTS_FILE, Emit, read_events
from hanlin.core.train.batch import Batch, Batches
from hanlin.core.train.checkpoint import (
    BEST,
    Progress,
    best_checkpoint,
    last_checkpoint,
    load_checkpoint,
    remove_checkpoints,
    save_checkpoint,
)
from hanlin.core.train.compiling import maybe_compile, training_dtype
from hanlin.core.train.config import Train
from hanlin.core.train.float8 import use_float8
from hanlin.core.train.objectives.causal import Causal
from hanlin.core.train.optimizer import Optimizer
from hanlin.core.train.packing import token_micro_batches
from hanlin.core.train.parallel import Parallel, blocks_of, this_device
from hanlin.core.train.peak import flops_per_token, matrix_peak
from hanlin.core.train.recompute import keep_inputs_alone
from hanlin.core.train.schedule import rate_scale
from hanlin.core.train.stopping import interruptible, telling_why
from hanlin.core.train.watch import Watch

MILESTONES = (0.0, 0.25, 0.5, 0.75, 1.0)

RECENT_STEPS = 50
"""The reported loss is the mean over this many steps at the end."""

Objective = Callable[[Any, Batch], torch.Tensor]
AtMilestone = Callable[[float], float | None]


@dataclass(frozen=True)
class Fitted:
    """What the loop reports: steps, trained tokens, seconds of training alone, the last losses' mean in nats a
    token."""

    steps: int
    tokens: int
    seconds: float
    loss: float


def fit(
    model: Any,
    batches: Batches,
    config: Train,
    emit: Emit,
    folder: Path,
    at_milestone: AtMilestone | None = None,
    characters_per_token: float | None = None,
    objective: Objective | None = None,
    rate_of: dict[str, float] | None = None,
) -> Fitted:
    """Train `model` in place, resuming from `folder` if it holds a checkpoint; only parameters that require a gradient.

    at_milestone is called at 0, 25, 50, 75 and 100 % of the run (samples, held-out loss); its time does not count. What
    it returns is the held-out loss, for `keep_best`. With characters_per_token every step's event carries bits per
    character as well. rate_of: learning rates of single parameters, by name.

    The model's parameters must already have the training dtype (and, on a fresh start, their first values).
    Raises HanlinError when the loss is no longer a number or runs away, or when another process of this run has died;
    KeyboardInterrupt after saving when Ctrl-C arrives.
    """
    with interruptible() as asked_to_stop, telling_why(folder):
        loop = _Loop(model, batches, config, emit, folder, objective or Causal(), characters_per_token, rate_of)
        loop.resume()
        loop.warm_up()
        while (progress := loop.progress()) < 1.0 and not loop.asked(asked_to_stop):
            loop.visit_milestones(progress, at_milestone)
            loop.one_step(progress)
            loop.save_if_due()
        if not loop.asked(asked_to_stop):
            loop.visit_milestones(1.0, at_milestone)
        loop.save()
        if loop.asked(asked_to_stop):
            raise KeyboardInterrupt
        loop.finish()
    return loop.fitted()


def start_again(folder: Path) -> None:
    """Call when the trained model has been saved: the checkpoints have done their work."""
    remove_checkpoints(folder)


class _LossModule(nn.Module):
    """Model and objective as one module: what engines for many processes wrap."""

    def __init__(self, model: nn.Module, objective: Objective):
        super().__init__()
        self.model = model
        self.objective = objective

    def forward(self, batch: Batch) -> torch.Tensor:
        return self.objective(self.model, batch)


class _Loop:
    """The loop's variables and its few movements."""

    def __init__(
        self,
        model: Any,
        batches: Batches,
        config: Train,
        emit: Emit,
        folder: Path,
        objective: Objective,
        characters_per_token: float | None,
        rate_of: dict[str, float] | None,
    ):
        self.model, self.batches, self.config, self.emit, self.folder = model, batches, config, emit, folder
        self.characters_per_token, self.rate_of = characters_per_token, rate_of
        self.device = this_device(config.device)
        self.parallel = Parallel(config, self.device)
        model.to(self.device)
        dtype = training_dtype(config.dtype)
        if config.dtype == "float8":
            use_float8(model)
        if config.recompute:
            keep_inputs_alone(model)
        if self.parallel.sharded:
            model.float()  # shards are their own masters
        self.module = self.parallel.wrap(model, _LossModule(model, objective), dtype)
        self.optimizer = Optimizer(model, config, rate_of)
        self._compile()
        self.watch = Watch(emit, folder)
        self.step, self.seconds, self.tokens, self.best = 0, 0.0, 0, math.inf
        self.recorded: dict[int, dict] = {}
        self.recent: list[float] = []
        self.milestones = list(MILESTONES)
        self.saved_at = time.monotonic()
        self.saved_step = -1
        self.peak = 0.0

    def _compile(self) -> None:
        """The whole body in one process; with shards block by block, so that a block is gathered when its turn
        comes."""
        if self.parallel.sharded:
            for block in blocks_of(self.model):
                block.forward = maybe_compile(block.forward, self.config.compile, self.emit)
        elif hasattr(self.model, "body"):
            self.model.body = maybe_compile(self.model.body, self.config.compile, self.emit)

    def resume(self) -> None:
        """Take up the newest checkpoint. Steps logged after it (all of them, where the run ended before the first
        checkpoint) are run again with their logged progress: the same bits."""
        for event in read_events(self.folder / EVENTS_FILE, "step"):
            self.recorded[event["step"]] = event
        found = last_checkpoint(self.folder)
        if found is None and not self.recorded:
            return
        if found is not None:
            progress = load_checkpoint(found, self.optimizer.tensors())
            self.optimizer.restored(progress.step)
            self.step, self.seconds, self.tokens = progress.step, progress.seconds, progress.tokens
            self.best = math.inf if progress.best is None else progress.best
        done = [self.recorded[step] for step in range(1, self.step + 1) if step in self.recorded]
        self.recent = [event["loss"] for event in done[-RECENT_STEPS:]]
        for event in done:
            self.watch.seen(event["loss"])
        self.milestones = [m for m in MILESTONES if m > self._last_milestone()]
        again = max(self.recorded, default=self.step) - self.step
        self.saved_step = self.step
        self.emit("resumed", step=self.step, seconds=round(self.seconds, 1), again=max(0, again))

    def _last_milestone(self) -> float:
        return max((e["at"] for e in read_events(self.folder / EVENTS_FILE, "milestone")), default=-1.0)

    def warm_up(self) -> None:
        """Compile, and let the memory allocator settle, before the clock starts. Leaves no trace in the weights."""
        began = time.monotonic()
        micro = self._micro_batches(self._batch())[0]
        self._backward(micro, 1.0, last=True)
        for parameter in self.model.parameters():
            parameter.grad = None
        peak = matrix_peak(training_dtype(self.config.dtype), self.device)
        self.peak = peak / flops_per_token(self.model, micro)
        self.emit("ready", seconds=round(time.monotonic() - began, 1), peak_gflops=round(peak / 1e9))

    def progress(self) -> float:
        """Share of the run that is done: steps, tokens, or training seconds; for a step run before, what its log
        says."""
        before = self.recorded.get(self.step + 1)
        if before is not None:
            return before["progress"]
        if self.config.steps is not None:
            return self.step / self.config.steps
        if self.config.tokens is not None:
            return self.tokens / self.config.tokens
        assert self.config.minutes is not None
        return self.parallel.first_says(self.seconds / (self.config.minutes * 60))

    def asked(self, to_stop: threading.Event) -> bool:
        return bool(self.parallel.first_says(float(to_stop.is_set())))

    def _batch(self) -> Batch:
        return self.batches(self.batches.longest() if self.config.longest_first else self.step)

    def one_step(self, progress: float) -> None:
        began = time.monotonic()
        batch = self._batch()
        trained = batch.num_trained
        loss = self._gradients(batch, trained) / trained
        if not math.isfinite(loss):
            self._diverged(batch, loss)
        config = self.config
        scale = rate_scale(progress, config.schedule, config.warmup, config.decay, config.final_rate)
        norm = self.optimizer.step(scale)
        if not math.isfinite(norm):
            self._diverged(batch, norm, "gradient's norm")
        seconds = time.monotonic() - began
        before = self.recorded.pop(self.step + 1, None)
        self.step += 1
        self.tokens += trained
        self.seconds = before["seconds"] if before else self.seconds + seconds
        self.recent = [*self.recent, loss][-RECENT_STEPS:]
        rate = trained / seconds
        self.emit(
            "step",
            step=self.step,
            progress=progress,
            seconds=self.seconds,
            tokens=self.tokens,
            loss=loss,
            **self._per_character(loss),
            norm=norm,
            rate=scale,
            tokens_per_second=round(rate, 1),
            peak_share=round(batch.num_read / seconds / (self.peak * self.parallel.world), 3),
        )
        self.watch.step(self.step, loss, seconds, self._documents(batch))
        if self.watch.runs_away():
            self._diverged(batch, loss, "loss, far above where it began,", self.step)

    def _gradients(self, batch: Batch, trained: int) -> float:
        """Add the gradient of (sum of losses ÷ trained tokens of the whole batch); return the sum of losses in nats.

        Engines average gradients over processes: each counts times the number of processes.
        """
        micros = self._micro_batches(batch)
        total = 0.0
        for place, micro in enumerate(micros):
            torch.manual_seed(_seed_of(self.config.seed, self.step, place, self.parallel.data_rank))
            total += self._backward(micro, self.parallel.data / trained, last=place == len(micros) - 1)
        return self.parallel.sum(total)

    def _per_character(self, loss: float) -> dict[str, float]:
        return {"bpc": loss / math.log(2) / self.characters_per_token} if self.characters_per_token else {}

    def _micro_batches(self, batch: Batch) -> list[Batch]:
        """This process's parts. All processes have as many of them, of the same shapes."""
        rank, world = self.parallel.data_rank, self.parallel.data
        if self.config.micro_tokens:
            together = token_micro_batches(batch, self.config.micro_tokens * world)
            return [part.share(rank, world) for part in together] if world > 1 else together
        mine = batch.share(rank, world) if world > 1 else batch
        return mine.split(self.config.micro_rows or max(1, mine.ids_BT.shape[0]))

    def _backward(self, micro: Batch, scale: float, last: bool) -> float:
        with self.parallel.accumulating(last):
            total = self.module(micro.to(self.device))
            (total * scale).backward()
        return float(total.detach())

    def _documents(self, batch: Batch) -> str:
        return ", ".join(self.batches.describe(row) for row in batch.rows[:3])

    def _diverged(self, batch: Batch, value: float, what: str = "loss", step: int | None = None) -> None:
        step = step or self.step + 1
        documents = self._documents(batch)
        kept = last_checkpoint(self.folder)
        good = f"{kept.name} (step {self.saved_step}) is kept" if kept else "there is no checkpoint yet"
        text = f"The {what} is {value} at step {step} (documents: {documents})."
        self.emit("alert", what="nan", step=step, text=f"{text} Last good checkpoint: {good}.", rows=[*batch.rows])
        raise HanlinError(
            text,
            f"a finite loss that falls; the last good checkpoint: {good}",
            self._lower_rates(),
            "docs/training.md",
        )

    def _lower_rates(self) -> str:
        if self.rate_of:
            return f"lower lora.rate (now {min(self.rate_of.values()):g})"
        config = self.config
        return (
            f"lower train.matrix_rate (now {config.rate_of_matrices:g}) and train.embedding_rate "
            f"(now {config.rate_of_the_rest:g})"
        )

    def visit_milestones(self, progress: float, visit: AtMilestone | None) -> None:
        while self.milestones and self.milestones[0] <= progress:
            at = self.milestones.pop(0)
            if visit is not None:
                with self.parallel.whole_model():
                    measured = visit(at)
                if measured is not None and measured < self.best:
                    self._found_better(measured)
            self.emit("milestone", at=at, step=self.step)

    def _found_better(self, measured: float) -> None:
        self.best = measured
        if self.config.keep_best and self.step:
            save_checkpoint(self.folder, self._stand(), self.optimizer.tensors(), name=BEST)
            self.emit("best", step=self.step, loss=measured)

    def save_if_due(self) -> None:
        """Not while the loss is doubtful: the last good checkpoint stays."""
        due = self.watch.is_good() and time.monotonic() - self.saved_at >= self.config.checkpoint_seconds
        if self.parallel.first_says(float(due)):
            self.save()

    def _stand(self) -> Progress:
        best = None if math.isinf(self.best) else self.best
        return Progress(self.step, self.seconds, self.tokens, best)

    def save(self) -> None:
        self.watch.disk(self.step)
        save_checkpoint(self.folder, self._stand(), self.optimizer.tensors(), self.config.keep_last)
        self.saved_at, self.saved_step = time.monotonic(), self.step
        self.emit("checkpoint", step=self.step)

    def finish(self) -> None:
        """The weights that are to be saved: whole, in every process, the best or the averaged ones where asked for."""
        best = best_checkpoint(self.folder)
        if self.config.keep_best and best is not None:
            progress = load_checkpoint(best, self.optimizer.tensors())
            self.optimizer.restored(progress.step)
        if self.config.ema:
            self.optimizer.use_averages()
        self.parallel.gather()

    def fitted(self) -> Fitted:
        return Fitted(self.step, self.tokens, self.seconds, sum(self.recent) / max(1, len(self.recent)))


def _seed_of(*numbers: int) -> int:
    """A seed for this place of this step: dropout draws the same numbers in a run that was resumed."""
    value = 0
    for number in numbers:
        value = (value * 1_000_003 + number + 1) % 2**63
    return value
