"""Keep rows that look like your good examples, not like your bad ones: a classifier trained from two folders.

    hanlin collect sources=crawl good_examples=books bad_examples=spam steps='[normalise, classifier]'

It is trained once, before the rows are read (judging/linear.py), and says how well it tells examples that it wasn't
trained on. The score of a row (0 … 1) stays in its notes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice

import numpy as np

from hanlin.core.run.errors import HanlinError
from hanlin.core.run.events import Emit
from hanlin.core.text.documents import Row
from hanlin.make.collect.options.judging import Classifier
from hanlin.make.collect.steps.judging import linear
from hanlin.make.collect.steps.judging.linear import Linear
from hanlin.make.collect.steps.matching import others
from hanlin.make.collect.steps.step import Context, Findings, RowStep, Survey

_FILE = "classifier.npz"
_LEAST_EXAMPLES = 20
_HELD_OUT = 10
"""One of so many examples is kept to measure on."""


@dataclass(frozen=True)
class Example:
    features: linear.Features
    good: bool
    held_out: bool


def prepare(options: Classifier, context: Context, emit: Emit) -> None:
    """Train, say how good it is, leave the weights. Raises HanlinError without enough examples of both kinds."""
    examples = [*_examples(options, context, "good_examples"), *_examples(options, context, "bad_examples")]
    learnt = [example for example in examples if not example.held_out]
    held = [example for example in examples if example.held_out]
    weights = linear.train(
        [example.features for example in learnt],
        [example.good for example in learnt],
        options.bits,
        options.rounds,
        context.seed,
    )
    model = Linear(weights, options.sizes, options.bits, options.most_characters)
    model.save(context.work / _FILE)
    emit("note", text=_figures(model, learnt, held))


def make(options: Classifier, context: Context) -> RowStep | Survey:
    path = context.work / _FILE
    if options.top_share is not None:
        return TopShare(options, context)
    loaded: list[Linear] = []

    def judge_all(rows: list[Row]) -> Iterable[Row]:
        if not loaded:
            loaded.append(linear.load(path))
        return (_judged(row, loaded[0].score(row.content), options.threshold) for row in rows)

    return judge_all


class TopShare(Survey):
    """Scores in every shard; the score that a row needs is decided over all of them."""

    def __init__(self, options: Classifier, context: Context):
        self._share = options.top_share or 1.0
        self._path = context.work / _FILE

    def look(self, rows: list[Row]) -> Findings:
        model = linear.load(self._path)
        return {"score": np.array([model.score(row.content) for row in rows])}

    def decide(self, looks: Sequence[Findings]) -> Iterator[Findings]:
        scores = np.concatenate([look["score"] for look in looks]) if len(looks) else np.empty(0)
        num_kept = round(self._share * len(scores))
        least = np.sort(scores)[-num_kept] if num_kept else np.inf
        for look in looks:
            yield {"score": look["score"], "least": np.array(least)}

    def apply(self, rows: list[Row], verdict: Findings) -> Iterable[Row]:
        least = float(verdict["least"])
        for row, score in zip(rows, verdict["score"].tolist(), strict=True):
            yield _judged(row, score, least)


def _judged(row: Row, score: float, least: float) -> Row:
    reason = f"unlike the good examples: {score:.3f} < {least:.3f}" if score < least else ""
    return replace(row, reason=reason, notes={**row.notes, "classifier": round(score, 4)})


def _examples(options: Classifier, context: Context, name: str) -> list[Example]:
    """Which ones are held out depends on what they say alone, so that copies never stand on both sides."""
    rows = islice(others.rows_of(context, name), options.most_examples) if others.has(context, name) else ()
    found = []
    for row in rows:
        held_out = hashlib.sha256(row.content.encode()).digest()[0] % _HELD_OUT == 0
        features = linear.features(row.content, options.sizes, options.bits, options.most_characters)
        found.append(Example(features, name == "good_examples", held_out))
    if len(found) < _LEAST_EXAMPLES:
        raise _too_few(name, len(found))
    return found


def _figures(model: Linear, learnt: Sequence[Example], held: Sequence[Example]) -> str:
    trained = f"classifier: trained on {sum(e.good for e in learnt):,} good and {sum(not e.good for e in learnt):,} bad"
    good = [example.good for example in held]
    if len(set(good)) < 2:
        return f"{trained} examples; too few to measure on."
    scores = [model.probability(example.features) for example in held]
    right = sum((score >= 0.5) == is_good for score, is_good in zip(scores, good)) / len(held)
    area = linear.area_under_curve(scores, good)
    return f"{trained} examples; of {len(held):,} others {100 * right:.1f} % are told right, AUC {area:.4f}."


def _too_few(name: str, found: int) -> HanlinError:
    return HanlinError(
        f"The step classifier has {found} texts in {name}.",
        f"at least {_LEAST_EXAMPLES} good and as many bad examples",
        "hanlin collect … good_examples=folder/of/good bad_examples=folder/of/bad",
        "src/hanlin/make/collect/README.md",
    )
