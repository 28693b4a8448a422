"""Ids of a few rows of many: read look by look, so that those of the others never fill the memory."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from hanlin.make.collect.steps.step import Findings


def names_of(looks: Iterable[Findings], wanted: np.ndarray) -> dict[int, str]:
    """{place: id} of the rows at the places `wanted`, which rise, counted through all looks."""
    names: dict[int, str] = {}
    place = 0
    for look in looks:
        end = place + len(look["id"])
        here = wanted[np.searchsorted(wanted, place) : np.searchsorted(wanted, end)]
        names.update(zip(here.tolist(), look["id"][here - place].tolist()))
        place = end
    return names
