"""How well a model predicts text: negative log-likelihood of documents, each token predicted exactly once."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch

from hanlin.core.model.cross_entropy import IGNORED, CrossEntropy
from hanlin.core.model.decoder import Decoder

ROWS_AT_ONCE = 8


@dataclass(frozen=True)
class Likelihood:
    """Sum of nats over `tokens` predicted tokens, which stand for `characters` characters."""

    nats: float
    tokens: int
    characters: int

    @property
    def bits_per_character(self) -> float:
        return self.nats / math.log(2) / max(1, self.characters)

    @property
    def nats_per_token(self) -> float:
        return self.nats / max(1, self.tokens)


@torch.inference_mode()
def document_likelihood(model: Decoder, documents: Iterable[tuple[Sequence[int], int]], context: int) -> Likelihood:
    """Likelihood of (ids with the leading document token, number of characters).

    A document longer than the context is read in windows that do not overlap; the first token of a window is the
    last of the one before, so nothing is predicted twice and nothing is left out.
    """
    nats, tokens, characters = 0.0, 0, 0
    rows: list[Sequence[int]] = []
    for ids, length in documents:
        characters += length
        rows += [ids[i : i + context + 1] for i in range(0, len(ids) - 1, context)]
    rows.sort(key=len)
    for i in range(0, len(rows), ROWS_AT_ONCE):
        group = rows[i : i + ROWS_AT_ONCE]
        nats += _sum_nats(model, group)
        tokens += sum(len(row) - 1 for row in group)
    return Likelihood(nats, tokens, characters)


def _sum_nats(model: Decoder, rows: Sequence[Sequence[int]]) -> float:
    """Rows are padded on the right: with causal attention the padding can't be seen, and its targets are ignored."""
    width = max(len(row) for row in rows)
    padded = torch.tensor([[*row, *[IGNORED] * (width - len(row))] for row in rows])
    states_BTC = model.hidden(padded[:, :-1].clamp(min=0))
    return float(CrossEntropy()(model, states_BTC, padded[:, 1:]))
