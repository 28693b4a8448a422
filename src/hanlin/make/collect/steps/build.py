"""Conversations and preferences, made from rows that hold the answer: a court's question and its holding, a word and
what it means, a poem and its title. No reply is invented; builder by builder in ../building/.

A row that can't be used is dropped with the reason. Rows that are conversations or preferences already stay as they
are. What is built keeps the group, so that a document held out of one corpus is held out of every other.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

import numpy as np

from hanlin.core.text.documents import Row
from hanlin.make.collect.building.builder import Nothing, Source, builder
from hanlin.make.collect.options.building import BUILDERS, Build
from hanlin.make.collect.steps.step import Context, Findings, RowStep, Survey


def make(options: Build, context: Context) -> RowStep | Survey:
    making = Making(options, context.seed)
    return making if options.most is None else Drawn(making, options.most)


class Making:
    """Rows → what is built of them, each with its builder."""

    def __init__(self, options: Build, seed: int):
        self.options, self.seed = options, seed
        self.takes: dict[str, list[str]] = defaultdict(list)
        for name in dict.fromkeys(options.what):
            for kind in builder(name).TAKES:
                self.takes[kind].append(name)

    def __call__(self, rows: list[Row]) -> Iterator[Row]:
        for row, built, reason in self.each(rows):
            yield from built if built else [replace(row, reason=reason)]

    def each(self, rows: list[Row]) -> Iterator[tuple[Row, list[Row], str]]:
        """(row, what is built of it, why nothing is)."""
        before: dict[str, Row] = {}
        for row in rows:
            if row.kind != "text":
                yield row, [row], ""
                continue
            built: list[Row] = []
            why: list[str] = []
            for name in self.takes.get(row.type, ()):
                try:
                    made = list(builder(name).build(Source(name, row, self.seed, before.get(row.type))))
                    built += self._few(self._short(made))
                except Nothing as nothing:
                    why.append(str(nothing))
            before[row.type] = row
            yield row, built, f"nothing to build: {why[0] if why else f'of a row of type {row.type}'}"

    def _short(self, made: list[Row]) -> list[Row]:
        """Those whose question is as short as was asked for. Raises Nothing where none is."""
        most = self.options.most_question_chars
        if most is None:
            return made
        short = [
            row for row in made if sum(len(m["content"]) for m in row.messages if m["role"] != "assistant") <= most
        ]
        if made and not short:
            raise Nothing(f"a question of over {most} characters")
        return short

    def _few(self, made: list[Row]) -> list[Row]:
        if len(made) <= self.options.per_row:
            return made
        drawn = sorted(sorted(made, key=lambda row: place(row, self.seed))[: self.options.per_row], key=made.index)
        return drawn


class Drawn(Survey):
    """At most so many of each builder: those with the lowest places in [0, 1), which are drawn by the row's id."""

    def __init__(self, making: Making, most: int):
        self.making, self.most = making, most

    def look(self, rows: list[Row]) -> Findings:
        built = [row for _, made, _ in self.making.each(rows) for row in made if "build" in row.notes]
        return {
            "builder": np.array([BUILDERS.index(row.type) for row in built], dtype=np.int8),
            "place": np.array([place(row, self.making.seed) for row in built], dtype=np.float64),
        }

    def decide(self, looks: Sequence[Findings]) -> Iterable[Findings]:
        """limit: by builder, the place of the last row that is kept."""
        limits = np.ones(len(BUILDERS))
        for number in range(len(BUILDERS)):
            places = np.concatenate([look["place"][look["builder"] == number] for look in looks] or [np.empty(0)])
            if len(places) > self.most:
                limits[number] = np.partition(places, self.most - 1)[self.most - 1]
        return [{"limit": limits} for _ in looks]

    def apply(self, rows: list[Row], verdict: Findings) -> Iterator[Row]:
        limits = dict(zip(BUILDERS, verdict["limit"].tolist()))
        for row, built, reason in self.making.each(rows):
            kept = [
                one for one in built if "build" not in one.notes or place(one, self.making.seed) <= limits[one.type]
            ]
            if built and not kept:
                reason = f"not drawn: most={self.most} of each builder"
            yield from kept or [replace(row, reason=reason)]


def place(row: Row, seed: int) -> float:
    """The built row's place in [0, 1), uniform over ids."""
    return int.from_bytes(hashlib.sha256(f"{seed}\0built\0{row.id}".encode()).digest()[:8], "big") / 2**64
