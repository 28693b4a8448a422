"""Rows of other inputs: a corpus to compare with, an evaluation set. Cleaned as the sources' own rows are."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from hanlin.core.text.documents import Row
from hanlin.make.collect.steps.step import Context


def has(context: Context, name: str) -> bool:
    return bool(context.all_inputs(name))


def rows_of(context: Context, name: str) -> Iterator[Row]:
    """The usable rows of the inputs `name`, their ids under `name/`. Raises HanlinError for an
    unreadable source."""
    from hanlin.make.collect.config import Collect
    from hanlin.make.collect.intake import take_in
    from hanlin.make.collect.reading.reader import Reading
    from hanlin.make.collect.reading.walk import plan, read_unit

    sources, units = plan(context.all_inputs(name))
    reading = Reading(context.config or Collect())
    for unit in units:
        for row in read_unit(unit, sources[unit.source], reading):
            row = take_in(row, min_chars=1)
            if not row.reason:
                yield replace(row, id=f"{name}/{row.id}")
