"""The steps of a recipe, made once in each process."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from hanlin.core.run.events import Emit
from hanlin.make.collect.steps.step import Context, RowStep, Survey

if TYPE_CHECKING:
    from hanlin.make.collect.config import Collect

_MADE: dict[tuple[Path, str], list[RowStep | Survey]] = {}


def prepare_all(config: Collect, context: Callable[[int], Context], emit: Emit) -> None:
    """What steps do once, before all: train a classifier, read the corpus to compare with. Finished ones are kept."""
    for number, options in enumerate(config.steps):
        prepare = getattr(_module(options.step), "prepare", None)
        surroundings = context(number)
        if prepare is None or (surroundings.work / "prepared").exists():
            continue
        surroundings.work.mkdir(parents=True, exist_ok=True)
        prepare(options, surroundings, emit)
        (surroundings.work / "prepared").touch()


def made(folder: Path, config: Collect, context: Callable[[int], Context]) -> list[RowStep | Survey]:
    """The steps, made at the first call for this work folder and these options."""
    key = (folder, config.model_dump_json())
    if key not in _MADE:
        _MADE.clear()
        _MADE[key] = [
            _module(options.step).make(options, context(number)) for number, options in enumerate(config.steps)
        ]
    return _MADE[key]


def _module(step: str) -> ModuleType:
    return importlib.import_module(f"{__package__}.{step}")
