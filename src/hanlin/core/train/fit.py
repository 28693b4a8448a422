"""The one training loop. A method supplies batches and a loss; the loop owns time, precision, resume and the log."""

from __future__ import annotations

import math
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import torch.nn.functional as F

from hanlin.core.model.decoder import Decoder
from hanlin.core.run.errors import HanlinError
from hanlin.core.run.events import EVENTS_FILE, Emit, read_events
from hanlin.core.train.batch import Batch, Batches
from hanlin.core.train.checkpoint import Progress, load_checkpoint, remove_checkpoints, save_checkpoint
from hanlin.core.train.compiling import maybe_compile
from hanlin.core.train.config import Train
from hanlin.core.train.loss import next_token_loss
from hanlin.core.train.optimizer import Optimizer
from hanlin.core.train.schedule import rate_scale

MILESTONES = (0.0, 0.25, 0.5, 0.75, 1.0)

RECENT_STEPS = 50
"""The reported loss is the mean over this many steps at the end."""


@dataclass(frozen=True)
class Fitted:
    """What the loop reports: steps, trained tokens, seconds of training alone, the last losses' mean in nats a
    token."""

    steps: int
    tokens: int
    seconds: float
    loss: float


def fit(
    model: Decoder,
    batches: Batches,
    config: Train,
    emit: Emit,
    folder: Path,
    at_milestone: Callable[[float], None] | None = None,
    characters_per_token: float | None = None,
) -> Fitted:
    """Train `model` in place, resuming from `folder` if it holds a checkpoint.

    at_milestone is called at 0, 25, 50, 75 and 100 % of the run (samples, held-out loss); its time does not count.
    With characters_per_token every step's event carries bits per character as well.

    The model's parameters must already have the training dtype (and, on a fresh start, their first values).
    Raises HanlinError when the loss is no longer a number, KeyboardInterrupt after saving when Ctrl-C arrives.
    """
    state = _State(model, batches, config, emit, folder, characters_per_token)
    state.resume()
    with _interruptible() as asked_to_stop:
        state.warm_up()
        while (progress := state.progress()) < 1.0 and not asked_to_stop.is_set():
            state.visit_milestones(progress, at_milestone)
            state.one_step(progress)
            state.save_if_due()
        if not asked_to_stop.is_set():
            state.visit_milestones(1.0, at_milestone)
        state.save()
        if asked_to_stop.is_set():
            raise KeyboardInterrupt
    return state.fitted()


def start_again(folder: Path) -> None:
    """Call when the trained model has been saved: the checkpoints have done their work."""
    remove_checkpoints(folder)


@dataclass
class _State:
    """The loop's variables and its few movements."""

    model: Decoder
    batches: Batches
    config: Train
    emit: Emit
    folder: Path
    characters_per_token: float | None = None
    step: int = 0
    seconds: float = 0.0
    tokens: int = 0
    recorded: dict[int, dict] = field(default_factory=dict)
    recent: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.optimizer = Optimizer(self.model, self.config)
        self.loss = maybe_compile(next_token_loss, self.config.compile, self.emit)
        self.milestones = list(MILESTONES)
        self.saved_at = time.monotonic()

    def resume(self) -> None:
        """Take up the newest checkpoint. Steps logged after it (all of them, where the run ended before the first
        checkpoint) are run again with their logged progress: the same bits."""
        for event in read_events(self.folder / EVENTS_FILE, "step"):
            self.recorded[event["step"]] = event
        found = load_checkpoint(self.folder)
        if found is None and not self.recorded:
            return
        if found is not None:
            progress, tensors = found
            self.optimizer.restore(tensors)
            self.step, self.seconds = progress.step, progress.seconds
        done = [self.recorded[step] for step in range(1, self.step + 1) if step in self.recorded]
        self.tokens = done[-1]["tokens"] if done else 0
        self.recent = [event["loss"] for event in done[-RECENT_STEPS:]]
        self.milestones = [m for m in MILESTONES if m > self._last_milestone()]
        again = max(self.recorded, default=self.step) - self.step
        self.emit("resumed", step=self.step, seconds=round(self.seconds, 1), again=max(0, again))

    def _last_milestone(self) -> float:
        return max((e["at"] for e in read_events(self.folder / EVENTS_FILE, "milestone")), default=-1.0)

    def warm_up(self) -> None:
        """Compile, and let the memory allocator settle, before the clock starts. Leaves no trace in the weights."""
        began = time.monotonic()
        for micro in self._micro_batches(self.batches(self.step))[:1]:
            self._backward(micro, 1)
        for parameter in self.model.parameters():
            parameter.grad = None
        self.emit("ready", seconds=round(time.monotonic() - began, 1))

    def progress(self) -> float:
        """Share of the run that is done: steps, or training seconds; for a step run before, what its log says."""
        before = self.recorded.get(self.step + 1)
        if before is not None:
            return before["progress"]
        if self.config.steps is not None:
            return self.step / self.config.steps
        assert self.config.minutes is not None
        return self.seconds / (self.config.minutes * 60)

    def one_step(self, progress: float) -> None:
        began = time.monotonic()
        batch = self.batches(self.step)
        trained = batch.num_trained
        total = sum(self._backward(micro, trained) for micro in self._micro_batches(batch))
        loss = total / trained
        if not math.isfinite(loss):
            self._diverged(batch, loss)
        scale = rate_scale(progress, self.config.warmup, self.config.decay)
        norm = self.optimizer.step(scale)
        if not math.isfinite(norm):  # the weights are spoilt now: before they reach a checkpoint
            self._diverged(batch, norm, "gradient's norm")
        seconds = time.monotonic() - began
        before = self.recorded.pop(self.step + 1, None)
        self.step += 1
        self.tokens += trained
        self.seconds = before["seconds"] if before else self.seconds + seconds
        self.recent = [*self.recent, loss][-RECENT_STEPS:]
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
            tokens_per_second=round(trained / seconds, 1),
        )

    def _per_character(self, loss: float) -> dict[str, float]:
        return {"bpc": loss / math.log(2) / self.characters_per_token} if self.characters_per_token else {}

    def _micro_batches(self, batch: Batch) -> list[Batch]:
        return batch.split(self.config.micro_rows or self.config.batch_rows)

    def _backward(self, micro: Batch, trained: int) -> float:
        """Add this part's gradient of (sum of losses / trained tokens of the whole batch); return its sum in nats."""
        x_BTC = F.embedding(micro.ids_BT, self.model.embed_tokens.weight)
        total = self.loss(self.model, x_BTC, micro.targets_BT)
        (total / trained).backward()
        return float(total.detach())

    def _diverged(self, batch: Batch, value: float, what: str = "loss") -> None:
        documents = ", ".join(self.batches.describe(row) for row in batch.rows[:3])
        raise HanlinError(
            f"The {what} is {value} at step {self.step + 1} (documents: {documents}).",
            "a finite loss; the last good checkpoint is kept",
            f"lower train.matrix_rate (now {self.config.matrix_rate}) and train.embedding_rate "
            f"(now {self.config.embedding_rate})",
            "docs/training.md",
        )

    def visit_milestones(self, progress: float, visit: Callable[[float], None] | None) -> None:
        while self.milestones and self.milestones[0] <= progress:
            at = self.milestones.pop(0)
            if visit is not None:
                visit(at)
            self.emit("milestone", at=at, step=self.step)

    def save_if_due(self) -> None:
        if time.monotonic() - self.saved_at >= self.config.checkpoint_seconds:
            self.save()

    def save(self) -> None:
        save_checkpoint(self.folder, Progress(self.step, self.seconds), self.optimizer.state())
        self.saved_at = time.monotonic()
        self.emit("checkpoint", step=self.step)

    def fitted(self) -> Fitted:
        return Fitted(self.step, self.tokens, self.seconds, sum(self.recent) / max(1, len(self.recent)))


@contextmanager
def _interruptible() -> Iterator[threading.Event]:
    """The first Ctrl-C lets the step end and the checkpoint be written; the second one stops at once."""
    asked = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield asked
        return
    previous = signal.getsignal(signal.SIGINT)

    def on_interrupt(number, frame):
        asked.set()
        signal.signal(signal.SIGINT, previous)

    signal.signal(signal.SIGINT, on_interrupt)
    try:
        yield asked
    finally:
        signal.signal(signal.SIGINT, previous)
