"""The held-out loss of an objective that hides a part of its text: what is hidden depends on the window alone, so two
models are asked the same."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np
import torch

from hanlin.core.model.likelihood import ROWS_AT_ONCE, Likelihood
from hanlin.core.train.batch import Batch

GLANCE_TOKENS = 10_000
"""Read at each milestone."""


class Hiding(Protocol):
    """Windows of which a part is hidden."""

    def __len__(self) -> int: ...

    def hidden(self, rows: Sequence[int], random: np.random.Generator) -> Batch: ...


def random_at(seed: int, place: int) -> np.random.Generator:
    """Numbers of this place alone, and none of those that decide the order of data."""
    return np.random.Generator(np.random.Philox(counter=[0, 0, 0, 1], key=[seed, place]))


@torch.inference_mode()
def hidden_likelihood(
    model: Any, objective: Callable[[Any, Batch], torch.Tensor], windows: Hiding, context: int, max_tokens: int
) -> Likelihood:
    """Of windows spread evenly over the split, about `max_tokens` tokens of text in all; characters are not counted."""
    rows = range(0, len(windows), max(1, len(windows) * context // max_tokens))
    nats, tokens = 0.0, 0
    for first in range(0, len(rows), ROWS_AT_ONCE):
        chosen = rows[first : first + ROWS_AT_ONCE]
        batch = windows.hidden(chosen, random_at(0, chosen[0])).to(model.embed_tokens.weight.device)
        nats += float(objective(model, batch))
        tokens += batch.num_trained
    return Likelihood(nats, tokens, 0)
