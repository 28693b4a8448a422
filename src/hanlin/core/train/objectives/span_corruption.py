"""Span corruption: write what was cut out of a text. Raffel et al. 2019, https://arxiv.org/abs/1910.10683,
section 3.1.4.

Of a text of n tokens, m = 15 % are cut out in m / 3 spans of random lengths. In the source a sentinel stands for each
span; the target is each sentinel with its span, then one more sentinel:

    text     a b c d e f g h i j           (d e and j are cut out)
    source   a b c <0> f g h i <1> stop
    target   <0> d e <1> j <2> stop

Counts are those of the original code: they follow from n alone, so that rows of one length stay of one length.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from hanlin.core.model.cross_entropy import CrossEntropy
from hanlin.core.train.batch import IGNORED, Batch


@dataclass(frozen=True)
class SpanCorruption:
    """`extras`: `source_ids` (B, S), and `source_present`, bool, False for padding."""

    cross_entropy: CrossEntropy = CrossEntropy()

    def __call__(self, model: Any, batch: Batch) -> torch.Tensor:
        """The sum over the targets' tokens, sentinels and stop included, in nats."""
        present_BS = batch.extras["source_present"].clone()
        present_BS[:, 0] = True  # a row that only fills up has no source, and a softmax of nothing is not a number
        source = model.encode(batch.extras["source_ids"], present_BS)
        return self.cross_entropy(model, model.hidden(batch.ids_BT, source), batch.targets_BT)


@dataclass(frozen=True)
class Spans:
    """sentinels: ids, in the order in which they stand in for spans. stop_id: ends source and target."""

    sentinels: tuple[int, ...]
    stop_id: int
    share: float = 0.15
    mean_length: float = 3.0

    def counts(self, num_tokens: int) -> tuple[int, int]:
        """(tokens that are cut out, spans). Something is cut out and something stays: two tokens at least."""
        cut = min(max(round(num_tokens * self.share), 1), num_tokens - 1)
        return cut, min(max(round(cut / self.mean_length), 1), num_tokens - cut)

    def lengths(self, num_tokens: int) -> tuple[int, int]:
        """Of source and target, stops included."""
        cut, spans = self.counts(num_tokens)
        return num_tokens - cut + spans + 1, cut + spans + 2

    def longest_text(self, context: int) -> int:
        """Tokens of the longest text whose source and target have at most `context` tokens; 0 where none has."""
        fitting = (n for n in range(2 * context, 1, -1) if max(self.lengths(n)) <= context)
        return next(fitting, 0)


def corrupt(ids: Sequence[int], spans: Spans, random: np.random.Generator) -> tuple[list[int], list[int]]:
    """(source, target) of a text of at least two tokens. It begins with tokens that stay and ends with a span.

    Raises ValueError when the spans are more than the sentinels can name.
    """
    cut, count = spans.counts(len(ids))
    if count >= len(spans.sentinels):
        raise ValueError(f"{count} spans need {count + 1} sentinels; there are {len(spans.sentinels)}")
    source: list[int] = []
    target: list[int] = []
    place = 0
    for sentinel, kept, taken in zip(
        spans.sentinels, random_parts(len(ids) - cut, count, random), random_parts(cut, count, random)
    ):
        source += [*ids[place : place + kept], sentinel]
        target += [sentinel, *ids[place + kept : place + kept + taken]]
        place += kept + taken
    return [*source, spans.stop_id], [*target, spans.sentinels[count], spans.stop_id]


def random_parts(total: int, parts: int, random: np.random.Generator) -> list[int]:
    """Lengths of `parts` pieces, none empty, of `total`: each way of cutting is as likely as any other."""
    cuts = np.sort(random.choice(total - 1, parts - 1, replace=False)) + 1
    return np.diff([0, *cuts, total]).tolist()


def pair_up(
    pairs: Sequence[tuple[Sequence[int], Sequence[int]]], start_id: int, pad_id: int, rows: tuple[int, ...] = ()
) -> Batch:
    """Sources and targets, padded on the right. The decoder reads the target one token late, `start_id` first."""
    sources, targets = zip(*pairs)
    present_BS, source_ids = _padded(sources, pad_id)
    written_BT, targets_BT = _padded(targets, pad_id)
    starts_B1 = torch.full((len(pairs), 1), start_id)
    return Batch(
        torch.cat([starts_B1, targets_BT[:, :-1]], dim=1),
        torch.where(written_BT, targets_BT, IGNORED),
        rows,
        extras={"source_ids": source_ids, "source_present": present_BS},
    )


def _padded(texts: Sequence[Sequence[int]], pad_id: int) -> tuple[torch.Tensor, torch.Tensor]:
    """(which are real, ids), (B, longest)."""
    width = max(map(len, texts))
    ids_BT = torch.tensor([[*text, *[pad_id] * (width - len(text))] for text in texts])
    return torch.arange(width) < torch.tensor([[len(text)] for text in texts]), ids_BT
