"""The loop's options: one end, rates that follow from the optimizer, and words that YAML would take for something
else."""

from __future__ import annotations

import pytest

from hanlin.core.run.config import build, parse_overrides
from hanlin.core.run.errors import HanlinError
from hanlin.core.train.config import RATES, Train
from hanlin.make.pretrain.config import ContinuedTrain
from hanlin.shape.finetune.config import FinetuneTrain


@pytest.mark.parametrize("options", [Train, FinetuneTrain])
@pytest.mark.parametrize("word", ["on", "off", "auto"])
def test_on_and_off_are_words(options: type[Train], word: str) -> None:
    """As typed on the command line and written in a recipe, where YAML reads a bare `off` as false."""
    assert build(options, parse_overrides([f"compile={word}"]), "pretrain").compile == word


def test_other_words_are_refused() -> None:
    with pytest.raises(HanlinError, match="'auto', 'on' or 'off'"):
        build(Train, parse_overrides(["compile=maybe"]), "pretrain")


@pytest.mark.parametrize("options", [Train, FinetuneTrain])
def test_steps_replace_the_default_minutes(options: type[Train]) -> None:
    assert (options(steps=5).minutes, options(minutes=2).steps) == (None, None)
    assert options().minutes is not None and options(minutes=None, steps=3).steps == 3


@pytest.mark.parametrize("values", [{"minutes": 1, "steps": 1}, {"minutes": None}, {"minutes": 0}, {"steps": 0}])
def test_a_run_has_exactly_one_end(values: dict) -> None:
    with pytest.raises(HanlinError):
        build(Train, values, "pretrain")


def test_tokens_are_an_end_of_their_own() -> None:
    options = Train(tokens=500)
    assert (options.minutes, options.steps, options.tokens) == (None, None, 500)
    for other in ({"steps": 3}, {"minutes": 1}, {"steps": 3, "minutes": 1}):
        with pytest.raises(HanlinError, match="not both"):
            build(Train, {"tokens": 500, **other}, "pretrain")


@pytest.mark.parametrize(("word", "masters"), [("null", "none"), ("none", "none"), ("float32", "float32")])
def test_none_is_a_word(word: str, masters: str) -> None:
    assert build(Train, parse_overrides([f"masters={word}"]), "pretrain").masters == masters


def test_a_constant_rate_has_no_end_of_its_own() -> None:
    assert Train(schedule="constant").final_rate == 0
    with pytest.raises(HanlinError, match="final_rate is for the others"):
        build(Train, {"schedule": "constant", "final_rate": 0.1}, "pretrain")


@pytest.mark.parametrize(
    "values",
    [
        {"clip": 0},
        {"ema": 1.0},
        {"ema": 0.0},
        {"label_smoothing": 1.0},
        {"z_loss": -1},
        {"keep_last": 0},
        {"warmup": 1.0},
        {"micro_rows": 0},
        {"micro_tokens": 0},
        {"tensor_parallel": 0},
        {"optimizer": "adam"},
        {"dtype": "float16"},
    ],
    ids=str,
)
def test_values_outside_their_range_are_named(values: dict) -> None:
    (name,) = values
    with pytest.raises(HanlinError, match=f'Option "{name}" of pretrain'):
        build(Train, values, "pretrain")


@pytest.mark.parametrize("options", [Train, ContinuedTrain, FinetuneTrain])
@pytest.mark.parametrize("optimizer", RATES)
def test_rates_are_the_optimizers_own_unless_given(options: type[Train], optimizer: str) -> None:
    """Gentler where a model is changed. What is no matrix inside a block is AdamW's beside Muon and in its own family,
    and goes at the same rate otherwise."""
    config = options(optimizer=optimizer)
    assert config.rate_of_matrices == RATES[optimizer] * options.GENTLENESS
    alike = optimizer not in ("muon", "adamw", "adamw8bit")
    assert config.rate_of_the_rest == (config.rate_of_matrices if alike else options.EMBEDDING_RATE)
    given = options(optimizer=optimizer, matrix_rate=0.5, embedding_rate=0.25)
    assert (given.rate_of_matrices, given.rate_of_the_rest) == (0.5, 0.25)
    assert options(optimizer=optimizer, matrix_rate=0.5).rate_of_the_rest == (0.5 if alike else options.EMBEDDING_RATE)


def test_rooms_that_change_a_model_are_gentler() -> None:
    assert FinetuneTrain.GENTLENESS < 1 and ContinuedTrain.GENTLENESS < 1
    assert FinetuneTrain.EMBEDDING_RATE < Train.EMBEDDING_RATE and ContinuedTrain.EMBEDDING_RATE < Train.EMBEDDING_RATE
