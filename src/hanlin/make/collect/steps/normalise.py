"""Bring text into one form that reads the same."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from hanlin.core.text.documents import Row
from hanlin.make.collect.steps.step import Context, RowStep, StepOptions


class Normalise(StepOptions):
    """One form for what reads the same."""

    step: Literal["normalise"] = "normalise"


def make(options: Normalise, context: Context) -> RowStep:
    return _as_it_is


def _as_it_is(rows: list[Row]) -> Iterable[Row]:
    return rows
