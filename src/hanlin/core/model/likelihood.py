"""How well a model predicts text: negative log-likelihood of documents, each token predicted exactly once.

A document longer than the context is read in windows that do not overlap; the first token of a window is the last of
the one before, so nothing is predicted twice and nothing is left out.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch

from hanlin.core.model.cross_entropy import IGNORED, CrossEntropy
from hanlin.core.model.decoder import Decoder

ROWS_AT_ONCE = 8
TOKENS_AT_ONCE = 2048


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
    """Likelihood of all documents together, each (ids with the leading document token, number of characters)."""
    nats, tokens, characters = 0.0, 0, 0
    rows: list[Sequence[int]] = []
    for ids, length in documents:
        characters += length
        rows += _windows(ids, context)
    rows.sort(key=len)
    for i in range(0, len(rows), ROWS_AT_ONCE):
        group = rows[i : i + ROWS_AT_ONCE]
        nats += _sum_nats(model, group)
        tokens += sum(len(row) - 1 for row in group)
    return Likelihood(nats, tokens, characters)


@torch.inference_mode()
def each_likelihood(model: Decoder, documents: Sequence[tuple[Sequence[int], int]], context: int) -> list[Likelihood]:
    """Of each document by itself, in their order. Windows of about one length are read together."""
    windows = [(window, owner) for owner, (ids, _) in enumerate(documents) for window in _windows(ids, context)]
    windows.sort(key=lambda window: len(window[0]))
    nats = [0.0] * len(documents)
    while windows:
        num = max(1, TOKENS_AT_ONCE // len(windows[-1][0]))
        group, windows = windows[-num:], windows[:-num]
        inputs_BT, targets_BT = _padded(model, [window for window, _ in group])
        states_BTC = model.hidden(inputs_BT)
        for place, (_, owner) in enumerate(group):
            row = slice(place, place + 1)
            nats[owner] += float(CrossEntropy()(model, states_BTC[row], targets_BT[row]))
    return [Likelihood(of, max(0, len(ids) - 1), length) for of, (ids, length) in zip(nats, documents)]


def _windows(ids: Sequence[int], context: int) -> list[Sequence[int]]:
    return [ids[i : i + context + 1] for i in range(0, len(ids) - 1, context)]


def _sum_nats(model: Decoder, rows: Sequence[Sequence[int]]) -> float:
    inputs_BT, targets_BT = _padded(model, rows)
    return float(CrossEntropy()(model, model.hidden(inputs_BT), targets_BT))


def _padded(model: Decoder, rows: Sequence[Sequence[int]]) -> tuple[torch.Tensor, torch.Tensor]:
    """Inputs and targets (B, T). Rows are padded on the right: with causal attention the padding can't be seen, and
    its targets are ignored."""
    width = max(len(row) for row in rows)
    device = next(model.parameters()).device
    padded = torch.tensor([[*row, *[IGNORED] * (width - len(row))] for row in rows], device=device)
    return padded[:, :-1].clamp(min=0), padded[:, 1:]
