"""The loop: one loss whatever the micro-batches, exact resume, milestones once, a culprit for every NaN."""

from __future__ import annotations

import math
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from toy import VOCAB, small_decoder, steps_of

from hanlin.core.model.decoder import Decoder
from hanlin.core.run.errors import HanlinError
from hanlin.core.run.events import EVENTS_FILE, EventLog, read_events, silent
from hanlin.core.train import fit as module
from hanlin.core.train.batch import IGNORED, Batch
from hanlin.core.train.checkpoint import checkpoints, load_checkpoint
from hanlin.core.train.config import Train
from hanlin.core.train.fit import MILESTONES, Fitted, fit
from hanlin.core.train.loss import next_token_loss

TIME = 12


class RandomBatches:
    """Eight rows a step; the first row has one trained token, the last all of them."""

    def __init__(self, rows: int = 8):
        self.rows = rows

    def __call__(self, step: int) -> Batch:
        random = torch.Generator().manual_seed(step)
        ids = torch.randint(VOCAB, (self.rows, TIME + 1), generator=random)
        targets = ids[:, 1:].clone()
        for row in range(self.rows):
            targets[row, 1 + row * TIME // self.rows :] = IGNORED
        return Batch(ids[:, :-1], targets, tuple(range(step, step + self.rows)))

    def describe(self, row: int) -> str:
        return f"document-{row}.txt"


def train(folder: Path, model: Decoder | None = None, visit: Callable[[float], None] | None = None, **options: Any):
    """(model, what fit returned); the log stands in `folder`."""
    folder.mkdir(exist_ok=True)
    values = {"steps": 6, "compile": "off", "dtype": "float32", **options}
    if "minutes" in values:
        del values["steps"]
    model = model or small_decoder()
    log = EventLog(folder / EVENTS_FILE)
    try:
        return model, fit(model, RandomBatches(), Train(**values), log, folder, visit)
    finally:
        log.close()


def test_accumulated_and_whole_batches_are_equal(tmp_path: Path) -> None:
    """Eight rows at once = 3 + 3 + 2 = one at a time, although the rows have unequal numbers of trained tokens.

    From the second step on Muon's bfloat16 has rounded the last bits of the gradients this way or that.
    """
    train(tmp_path / "8", steps=3)
    for at_once in (3, 1):
        train(tmp_path / str(at_once), steps=3, micro_rows=at_once)
        for step, tolerance in ((1, 1e-6), (2, 1e-4), (3, 1e-4)):
            one, other = steps_of(tmp_path / "8")[step], steps_of(tmp_path / str(at_once))[step]
            assert other["loss"] == pytest.approx(one["loss"], rel=tolerance)
            assert other["norm"] == pytest.approx(one["norm"], rel=10 * tolerance)
            assert other["tokens"] == one["tokens"]


def gradients(model: Decoder, micro_rows: int, folder: Path) -> dict[str, torch.Tensor]:
    state = module._State(model, RandomBatches(), Train(steps=1, compile="off"), silent, folder)
    batch = RandomBatches()(0)
    for micro in batch.split(micro_rows):
        state._backward(micro, batch.num_trained)
    return {name: parameter.grad for name, parameter in model.named_parameters()}


def test_accumulated_gradients_are_those_of_the_mean_over_all_trained_tokens(tmp_path: Path) -> None:
    model = small_decoder()
    batch = RandomBatches()(0)
    logits = model(batch.ids_BT)
    torch.nn.functional.cross_entropy(logits.flatten(0, 1), batch.targets_BT.flatten(), ignore_index=IGNORED).backward()
    wanted = {name: parameter.grad for name, parameter in model.named_parameters()}
    for micro_rows in (8, 3, 1):
        found = gradients(small_decoder(), micro_rows, tmp_path)
        for name, gradient in found.items():
            assert torch.allclose(gradient, wanted[name], atol=1e-6), name


def test_the_logged_loss_is_the_mean_over_trained_tokens(tmp_path: Path) -> None:
    model = small_decoder()
    batch = RandomBatches()(0)
    total = next_token_loss(model, model.embed_tokens(batch.ids_BT), batch.targets_BT)
    train(tmp_path, small_decoder(), steps=1, micro_rows=3)
    first = steps_of(tmp_path)[1]
    assert first["loss"] == pytest.approx(float(total.detach()) / batch.num_trained, rel=1e-6)
    assert first["tokens"] == batch.num_trained


def test_bits_per_character_are_logged(tmp_path: Path) -> None:
    log = EventLog(tmp_path / EVENTS_FILE)
    options = Train(steps=1, compile="off")
    fit(small_decoder(), RandomBatches(), options, log, tmp_path, characters_per_token=1.5)
    log.close()
    first = steps_of(tmp_path)[1]
    assert first["bpc"] == pytest.approx(first["loss"] / math.log(2) / 1.5)


def test_milestones_are_visited_once_each(tmp_path: Path) -> None:
    seen: list[float] = []
    train(tmp_path, visit=seen.append, steps=8)
    assert seen == list(MILESTONES)
    assert [event["at"] for event in read_events(tmp_path / EVENTS_FILE, "milestone")] == list(MILESTONES)


def test_a_run_of_one_step_visits_all_milestones(tmp_path: Path) -> None:
    seen: list[float] = []
    train(tmp_path, visit=seen.append, steps=1)
    assert seen == list(MILESTONES)


class Killed(BaseException):
    """The process ends here: nothing is cleaned up."""


def train_until(step: int, folder: Path, **options: Any) -> None:
    """Train and end abruptly when `step` has been logged."""
    folder.mkdir(exist_ok=True)
    log = EventLog(folder / EVENTS_FILE)

    def emit(kind: str, **fields: Any) -> None:
        log(kind, **fields)
        if kind == "step" and fields["step"] == step:
            raise Killed

    with pytest.raises(Killed):
        fit(small_decoder(), RandomBatches(), Train(compile="off", dtype="float32", **options), emit, folder)
    log.close()


@pytest.mark.parametrize("killed_at", [1, 5, 12])
@pytest.mark.parametrize("checkpoint_seconds", [0, 1000])
def test_resumed_losses_are_the_same_bits(tmp_path: Path, killed_at: int, checkpoint_seconds: float) -> None:
    """With a checkpoint after each step, and without any: then the logged steps are run again."""
    whole, fitted = train(tmp_path / "whole", steps=12)
    options = {"steps": 12, "checkpoint_seconds": checkpoint_seconds}
    train_until(killed_at, tmp_path / "cut", **options)
    resumed, again = train(tmp_path / "cut", small_decoder(), **options)
    one, other = steps_of(tmp_path / "whole"), steps_of(tmp_path / "cut")
    assert {n: (e["loss"], e["norm"], e["tokens"]) for n, e in one.items()} == {
        n: (e["loss"], e["norm"], e["tokens"]) for n, e in other.items()
    }
    for name, parameter in resumed.named_parameters():
        assert torch.equal(parameter, whole.get_parameter(name)), name
    assert (again.steps, again.tokens, again.loss) == (fitted.steps, fitted.tokens, fitted.loss)
    resumed_at = next(read_events(tmp_path / "cut" / EVENTS_FILE, "resumed"))
    assert resumed_at["step"] == (0 if checkpoint_seconds else killed_at - 1)


@pytest.mark.parametrize("checkpoint_seconds", [0, 1000])
def test_a_run_on_the_clock_repeats_its_logged_progress(tmp_path: Path, checkpoint_seconds: float) -> None:
    """The clock never runs the same twice: the steps that are run again follow the log, to the same bits."""
    options = {"minutes": 0.006, "checkpoint_seconds": checkpoint_seconds}
    train_until(5, tmp_path, **options)
    before = steps_of(tmp_path)
    train(tmp_path, small_decoder(), **options)
    after = steps_of(tmp_path)
    for number, event in before.items():
        for key in ("loss", "norm", "rate", "progress", "seconds", "tokens"):
            assert after[number][key] == event[key]


def test_milestones_are_not_visited_again_after_a_kill(tmp_path: Path) -> None:
    train_until(7, tmp_path, steps=12, checkpoint_seconds=1000)
    seen: list[float] = []
    train(tmp_path, small_decoder(), seen.append, steps=12)
    assert seen == [0.75, 1.0]
    assert [event["at"] for event in read_events(tmp_path / EVENTS_FILE, "milestone")] == list(MILESTONES)


def test_a_finished_run_started_again_trains_no_further(tmp_path: Path) -> None:
    whole, fitted = train(tmp_path, steps=4)
    again, refitted = train(tmp_path, small_decoder(), steps=4)
    assert refitted == fitted
    for name, parameter in again.named_parameters():
        assert torch.equal(parameter, whole.get_parameter(name))


def test_a_run_on_the_clock_ends_and_its_rate_falls_to_zero(tmp_path: Path) -> None:
    _, fitted = train(tmp_path, minutes=0.01)
    steps = list(steps_of(tmp_path).values())
    assert isinstance(fitted, Fitted) and fitted.steps == len(steps) > 2 and fitted.seconds >= 0.6
    progress = [event["progress"] for event in steps]
    assert progress == sorted(progress) and progress[-1] < 1
    for event in steps:
        assert event["rate"] == pytest.approx(min(1.0, (1 - event["progress"]) / 0.5))
    assert steps[0]["rate"] == 1 and steps[-1]["rate"] < 0.9


def test_time_at_milestones_does_not_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: clock[0])
    real = module._State._backward

    def slow_backward(state, micro, trained):
        clock[0] += 1
        return real(state, micro, trained)

    monkeypatch.setattr(module._State, "_backward", slow_backward)

    def visit(at: float) -> None:
        clock[0] += 100

    _, fitted = train(tmp_path, visit=visit, minutes=0.1)
    assert (fitted.steps, fitted.seconds) == (6, 6.0)


def poisoned(model: Decoder, at: int, kind: str) -> Callable[..., torch.Tensor]:
    """The loss, whose value (or whose gradient alone) is no number at step `at`."""
    calls = [0]

    def loss(*arguments: Any) -> torch.Tensor:
        calls[0] += 1  # the first call is the warm-up
        value = next_token_loss(*arguments)
        if calls[0] != at + 1:
            return value
        if kind == "loss":
            return value * math.nan
        spoilt = model.norm.weight
        return value + (spoilt - spoilt.detach()).clamp(min=0).sqrt().sum() * 0.0

    return loss


@pytest.mark.parametrize("kind", ["loss", "gradient"])
@pytest.mark.parametrize("checkpoint_seconds", [0, 1000])
def test_a_loss_that_is_no_number_names_its_step_and_documents(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, checkpoint_seconds: float
) -> None:
    model = small_decoder()
    monkeypatch.setattr(module, "maybe_compile", lambda *arguments: poisoned(model, 4, kind))
    with pytest.raises(HanlinError) as raised:
        train(tmp_path, model, steps=9, checkpoint_seconds=checkpoint_seconds)
    assert f"{kind}" in raised.value.what and "step 4" in raised.value.what
    assert "document-3.txt, document-4.txt, document-5.txt" in raised.value.what
    assert "train.matrix_rate" in raised.value.do
    if checkpoint_seconds:
        assert not checkpoints(tmp_path)
    else:
        progress, state = load_checkpoint(tmp_path)
        assert progress.step == 3
        assert all(torch.isfinite(tensor.float()).all() for tensor in state.values())


def test_ctrl_c_ends_the_step_and_saves(tmp_path: Path) -> None:
    def visit(at: float) -> None:
        if at == 0.5:
            signal.raise_signal(signal.SIGINT)

    handler = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path, visit=visit, steps=8)
    assert load_checkpoint(tmp_path)[0].step == 5
    assert signal.getsignal(signal.SIGINT) is handler
    whole, _ = train(tmp_path / "whole", steps=8)
    resumed, _ = train(tmp_path, small_decoder(), steps=8)
    for name, parameter in resumed.named_parameters():
        assert torch.equal(parameter, whole.get_parameter(name))


def test_ctrl_c_at_the_very_end_is_heard(tmp_path: Path) -> None:
    def visit(at: float) -> None:
        if at == 1.0:
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        train(tmp_path, visit=visit, steps=3)
    assert load_checkpoint(tmp_path)[0].step == 3


def test_a_second_ctrl_c_stops_at_once(tmp_path: Path) -> None:
    def visit(at: float) -> None:
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        train(tmp_path, visit=visit, steps=3)
    assert not checkpoints(tmp_path)
