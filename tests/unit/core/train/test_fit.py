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
from hanlin.core.train.checkpoint import checkpoints, last_checkpoint, read_progress
from hanlin.core.train.config import Train
from hanlin.core.train.fit import MILESTONES, Fitted, fit
from hanlin.core.train.objectives.causal import Causal

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

    def longest(self) -> int:
        return 2


def train(
    folder: Path,
    model: Decoder | None = None,
    visit: Callable[[float], float | None] | None = None,
    objective: Any = None,
    **options: Any,
):
    """(model, what fit returned); the log stands in `folder`."""
    folder.mkdir(exist_ok=True)
    values = {"steps": 6, "compile": "off", "dtype": "float32", **options}
    if "minutes" in values or "tokens" in values:
        del values["steps"]
    model = model or small_decoder()
    log = EventLog(folder / EVENTS_FILE)
    try:
        return model, fit(model, RandomBatches(), Train(**values), log, folder, visit, objective=objective)
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
    config = Train(steps=1, compile="off", dtype="float32", micro_rows=micro_rows)
    loop = module._Loop(model, RandomBatches(), config, silent, folder, Causal(), None, None)
    batch = RandomBatches()(0)
    loop._gradients(batch, batch.num_trained)
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
    total = Causal()(model, batch)
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


def train_until(step: int, folder: Path, model: Decoder | None = None, objective: Any = None, **options: Any) -> None:
    """Train and end abruptly when `step` has been logged."""
    folder.mkdir(exist_ok=True)
    log = EventLog(folder / EVENTS_FILE)

    def emit(kind: str, **fields: Any) -> None:
        log(kind, **fields)
        if kind == "step" and fields["step"] == step:
            raise Killed

    config = Train(**{"compile": "off", "dtype": "float32", **options})
    with pytest.raises(Killed):
        fit(model or small_decoder(), RandomBatches(), config, emit, folder, objective=objective)
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
    real = module._Loop._backward

    def slow_backward(loop, micro, scale, last):
        clock[0] += 1
        return real(loop, micro, scale, last)

    monkeypatch.setattr(module._Loop, "_backward", slow_backward)

    def visit(at: float) -> None:
        clock[0] += 100

    _, fitted = train(tmp_path, visit=visit, minutes=0.1)
    assert (fitted.steps, fitted.seconds) == (6, 6.0)


def poisoned(at: int, kind: str) -> Callable[[Decoder, Batch], torch.Tensor]:
    """The objective, whose value (or whose gradient alone) is no number at step `at`."""
    calls = [0]

    def objective(model: Decoder, batch: Batch) -> torch.Tensor:
        calls[0] += 1  # the first call is the warm-up
        value = Causal()(model, batch)
        if calls[0] != at + 1:
            return value
        if kind == "loss":
            return value * math.nan
        spoilt = model.norm.weight
        return value + (spoilt - spoilt.detach()).clamp(min=0).sqrt().sum() * 0.0

    return objective


@pytest.mark.parametrize("kind", ["loss", "gradient"])
@pytest.mark.parametrize("checkpoint_seconds", [0, 1000])
def test_a_loss_that_is_no_number_names_its_step_and_documents(
    tmp_path: Path, kind: str, checkpoint_seconds: float
) -> None:
    model = small_decoder()
    with pytest.raises(HanlinError) as raised:
        train(tmp_path, model, objective=poisoned(4, kind), steps=9, checkpoint_seconds=checkpoint_seconds)
    assert f"{kind}" in raised.value.what and "step 4" in raised.value.what
    assert "document-3.txt, document-4.txt, document-5.txt" in raised.value.what
    assert "train.matrix_rate" in raised.value.do
    alert = next(read_events(tmp_path / EVENTS_FILE, "alert"))
    assert (alert["what"], alert["step"], alert["rows"]) == ("nan", 4, [*range(3, 11)])
    assert all(torch.isfinite(parameter).all() for parameter in model.parameters())
    if checkpoint_seconds:
        assert not checkpoints(tmp_path) and "there is no checkpoint yet" in alert["text"]
    else:
        assert read_progress(last_checkpoint(tmp_path)).step == 3 and "(step 3) is kept" in alert["text"]


def test_ctrl_c_ends_the_step_and_saves(tmp_path: Path) -> None:
    def visit(at: float) -> None:
        if at == 0.5:
            signal.raise_signal(signal.SIGINT)

    handler = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path, visit=visit, steps=8)
    assert read_progress(last_checkpoint(tmp_path)).step == 5
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
    assert read_progress(last_checkpoint(tmp_path)).step == 3


def test_a_second_ctrl_c_stops_at_once(tmp_path: Path) -> None:
    def visit(at: float) -> None:
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        train(tmp_path, visit=visit, steps=3)
    assert not checkpoints(tmp_path)


def test_tokens_end_a_run(tmp_path: Path) -> None:
    _, fitted = train(tmp_path, tokens=150)
    steps = steps_of(tmp_path)
    each = RandomBatches()(0).num_trained
    assert fitted.steps == -(-150 // each) and fitted.tokens == fitted.steps * each
    assert [e["progress"] for e in steps.values()] == [n * each / 150 for n in range(fitted.steps)]


def test_a_loss_that_runs_away_stops_with_the_last_good_checkpoint(tmp_path: Path) -> None:
    calls = [0]

    def rising(model: Decoder, batch: Batch) -> torch.Tensor:
        calls[0] += 1
        return Causal()(model, batch) * (3.0 if calls[0] > 40 else 1.0)

    with pytest.raises(HanlinError, match="far above where it began") as raised:
        train(tmp_path, objective=rising, optimizer="adamw", steps=300, checkpoint_seconds=0)
    assert calls[0] < 80
    assert last_checkpoint(tmp_path) is not None and "is kept" in raised.value.expected
    assert next(read_events(tmp_path / EVENTS_FILE, "alert"))


def test_a_parameter_that_nothing_trains_is_named(tmp_path: Path) -> None:
    model = small_decoder()
    model.register_parameter("forgotten", torch.nn.Parameter(torch.ones(3)))
    with pytest.raises(HanlinError, match="forgotten is trained but has not moved in 5 steps"):
        train(tmp_path, model, optimizer="adamw")


def test_frozen_parameters_stay_and_have_no_state(tmp_path: Path) -> None:
    model = small_decoder()
    model.embed_tokens.requires_grad_(False)
    before = model.embed_tokens.weight.clone()
    train(tmp_path, model)
    assert torch.equal(model.embed_tokens.weight, before)


def test_the_average_is_what_is_left(tmp_path: Path) -> None:
    """Against the average worked out from a run's weights after each step."""
    seen: list[dict[str, torch.Tensor]] = []

    class Recorded(RandomBatches):
        def __call__(self, step: int) -> Batch:
            seen.append({name: p.detach().clone() for name, p in model.named_parameters()})
            return super().__call__(step)

    model = small_decoder()
    config = Train(steps=4, compile="off", dtype="float32", ema=0.7)
    last = small_decoder()
    fit(model, Recorded(), config, silent, tmp_path)
    (tmp_path / "plain").mkdir()
    fit(last, RandomBatches(), Train(steps=4, compile="off", dtype="float32"), silent, tmp_path / "plain")
    weights = [*seen[2:], {name: p.detach() for name, p in last.named_parameters()}]  # after the warm-up and each step
    average = seen[0]
    for after in weights:
        average = {name: 0.7 * old + 0.3 * after[name] for name, old in average.items()}
    for name, parameter in model.named_parameters():
        assert torch.allclose(parameter, average[name], atol=1e-6), name


def test_the_best_milestone_is_kept(tmp_path: Path) -> None:
    """The held-out loss rises after half of the run: the model of that moment is what is left."""
    measured = {0.0: 9.0, 0.25: 5.0, 0.5: 3.0, 0.75: 4.0, 1.0: 6.0}
    half: dict[str, torch.Tensor] = {}

    def visit(at: float) -> float:
        if at == 0.5:
            half.update({name: p.detach().clone() for name, p in model.named_parameters()})
        return measured[at]

    model = small_decoder()
    train(tmp_path, model, visit, steps=8, keep_best=True)
    assert half and all(torch.equal(parameter, half[name]) for name, parameter in model.named_parameters())
    assert [event["loss"] for event in read_events(tmp_path / EVENTS_FILE, "best")] == [5.0, 3.0]


def test_the_last_k_checkpoints_are_kept(tmp_path: Path) -> None:
    train(tmp_path, steps=6, checkpoint_seconds=0, keep_last=3)
    assert [read_progress(path).step for path in checkpoints(tmp_path)] == [4, 5, 6]


@pytest.mark.parametrize(
    "options",
    [
        {"recompute": True},
        {"micro_tokens": 30},
        {"states_on": "disk"},
        {"states_on": "cpu"},
    ],
    ids=str,
)
def test_less_memory_is_the_same_training(tmp_path: Path, options: dict[str, Any]) -> None:
    plain, _ = train(tmp_path / "plain", optimizer="adamw")
    lean, _ = train(tmp_path / "lean", optimizer="adamw", **options)
    for name, parameter in lean.named_parameters():
        assert torch.allclose(parameter, plain.get_parameter(name), atol=2e-6), name


@pytest.mark.parametrize("optimizer", ["adamw8bit", "adafactor", "lion", "sgd", "rmsprop", "muon", "adamw"])
@pytest.mark.parametrize("masters", ["float32", "none"])
def test_every_optimizer_resumes_to_the_same_bits(tmp_path: Path, optimizer: str, masters: str) -> None:
    """In bfloat16, with masters and with weights that are rounded at random; with an average beside them."""
    options = {"steps": 8, "optimizer": optimizer, "masters": masters, "dtype": "bfloat16", "ema": 0.9, "clip": 1.0}

    def model() -> Decoder:
        return small_decoder().to(torch.bfloat16)

    whole, _ = train(tmp_path / "whole", model(), **options)
    train_until(5, tmp_path / "cut", model(), checkpoint_seconds=0, **options)
    resumed, _ = train(tmp_path / "cut", model(), checkpoint_seconds=0, **options)
    for name, parameter in resumed.named_parameters():
        assert torch.equal(parameter, whole.get_parameter(name)), name
    steps = steps_of(tmp_path / "whole")
    assert steps[8]["loss"] < steps[1]["loss"] + 0.5


def test_the_longest_batch_is_read_again_and_again(tmp_path: Path) -> None:
    read: list[int] = []

    class Recorded(RandomBatches):
        def __call__(self, step: int) -> Batch:
            read.append(step)
            return super().__call__(step)

    config = Train(steps=3, compile="off", dtype="float32", longest_first=True)
    fit(small_decoder(), Recorded(), config, silent, tmp_path)
    assert set(read) == {2}


def test_dropout_draws_the_same_after_a_kill(tmp_path: Path) -> None:
    def dropped(model: Decoder, batch: Batch) -> torch.Tensor:
        states = torch.nn.functional.dropout(model.states(batch.ids_BT), 0.3)
        return Causal().cross_entropy(model, states, batch.targets_BT)

    whole, _ = train(tmp_path / "whole", objective=dropped, steps=6)
    train_until(4, tmp_path / "cut", objective=dropped, steps=6, checkpoint_seconds=0)
    resumed, _ = train(tmp_path / "cut", objective=dropped, steps=6, checkpoint_seconds=0)
    assert steps_of(tmp_path / "whole")[6]["loss"] == steps_of(tmp_path / "cut")[6]["loss"]
    for name, parameter in resumed.named_parameters():
        assert torch.equal(parameter, whole.get_parameter(name))
