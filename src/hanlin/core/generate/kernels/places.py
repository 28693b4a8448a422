"""Where the tokens lie that the next token of each text sees: the same for all layers of one window."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from hanlin.core.generate.paged import LayerRows, PlainPages
from hanlin.core.model.reading import Reading


def in_pages(state: Any) -> bool:
    """Whether a layer's keys and values lie in pages as they are."""
    return isinstance(state, LayerRows) and isinstance(state.pages, PlainPages)


def seen_of(reading: Reading, state: LayerRows, window: int | None) -> tuple[torch.Tensor, torch.Tensor]:
    """slots (B, S), at least two, that each text's new token sees, itself among them, and a mask (B, S): 0, −∞ where
    there is none."""
    return reading.once(("seen", window), lambda: _seen(reading, state, window))


def _seen(reading: Reading, state: LayerRows, window: int | None) -> tuple[torch.Tensor, torch.Tensor]:
    assert reading.rows is not None
    firsts = [0 if window is None else max(0, row.total - window) for row in reading.rows]
    counts = [row.total - first for row, first in zip(reading.rows, firsts)]
    if len(counts) == 1 and counts[0] > 1:
        runs = [torch.arange(begin, end, device=reading.device) for begin, end in state.stretches(0, firsts[0])]
        return torch.cat(runs)[None], torch.zeros(1, counts[0], device=reading.device)
    slots = np.zeros((len(counts), max(2, *counts)), dtype=np.int64)
    mask = np.full(slots.shape, -np.inf, dtype=np.float32)
    for number, (first, count) in enumerate(zip(firsts, counts)):
        slots[number, :count] = np.concatenate([np.arange(*run) for run in state.stretches(number, first)])
        mask[number, :count] = 0
    return torch.from_numpy(slots).to(reading.device), torch.from_numpy(mask).to(reading.device)
