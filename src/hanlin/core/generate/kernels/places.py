"""Where the tokens lie that the next token of each text sees: the same for all layers of one window."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch

from hanlin.core.generate.paged import LayerRows, PlainPages
from hanlin.core.model.reading import Reading


class Places(NamedTuple):
    """Of one layer. slots (B,): of the new tokens. seen (B, S): slots; mask (B, S): 0, −∞ where there is none."""

    keys_PKD: torch.Tensor
    values_PKD: torch.Tensor
    slots_B: torch.Tensor
    seen_BS: torch.Tensor
    mask_BS: torch.Tensor


def places_of(reading: Reading, state: Any, window: int | None) -> Places | None:
    """None where keys and values do not lie in pages as they are."""
    if not isinstance(state, LayerRows) or not isinstance(state.pages, PlainPages):
        return None
    seen_BS, mask_BS = reading.once(("places", window), lambda: _seen(reading, state, window))
    return Places(state.pages.keys, state.pages.values, state.slots_N, seen_BS, mask_BS)


def _seen(reading: Reading, state: LayerRows, window: int | None) -> tuple[torch.Tensor, torch.Tensor]:
    assert reading.rows is not None
    firsts = [0 if window is None else max(0, row.total - window) for row in reading.rows]
    longest = max(2, *(row.total - first for row, first in zip(reading.rows, firsts)), 0)
    seen = np.zeros((len(firsts), longest), dtype=np.int64)
    mask = np.full(seen.shape, -np.inf, dtype=np.float32)
    for number, (row, first) in enumerate(zip(reading.rows, firsts)):
        stretches = [np.arange(begin, end) for begin, end in state.stretches(number, first)]
        count = row.total - first
        seen[number, :count] = np.concatenate(stretches)
        mask[number, :count] = 0
    return torch.from_numpy(seen).to(reading.device), torch.from_numpy(mask).to(reading.device)
