"""The loop's options: one end, and words that YAML would take for truth values."""

from __future__ import annotations

import pytest

from hanlin.core.run.config import build, parse_overrides
from hanlin.core.run.errors import HanlinError
from hanlin.core.train.config import Train
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
