"""What has been read already, kept so that each new token costs one token's work."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import torch

from hanlin.core.model.reading import Reading


class KeyValues:
    """Preallocated keys and values of one attention, (B, K, max_tokens, D) each."""

    def __init__(
        self,
        batch: int,
        num_kv_heads: int,
        max_tokens: int,
        head_width: int,
        dtype: torch.dtype,
        device: torch.device | None = None,
    ):
        shape = (batch, num_kv_heads, max_tokens, head_width)
        self.keys = torch.zeros(shape, dtype=dtype, device=device)
        self.values = torch.zeros(shape, dtype=dtype, device=device)

    def extend(self, start: int, k_BKTD: torch.Tensor, v_BKTD: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Write the new tokens after the first `start`; return all keys and values so far, (B, K, S, D)."""
        end = start + k_BKTD.shape[2]
        assert end <= self.keys.shape[2], "the caller keeps prompt and reply inside the cache"
        self.keys[:, :, start:end] = k_BKTD
        self.values[:, :, start:end] = v_BKTD
        return self.keys[:, :, :end], self.values[:, :, :end]

    def select(self, rows: torch.Tensor) -> None:
        """Row b becomes what row `rows[b]` was."""
        self.keys, self.values = self.keys[rows], self.values[rows]


class AnyCache(Protocol):
    """What a decoder asks of a cache: `read` before the blocks, each block's state, the new length behind them."""

    states: list[Any]
    length: int

    def read(self, length: int, device: torch.device, present_BT: torch.Tensor | None) -> Reading: ...


class Cache:
    """One state a block (keys and values, or a recurrent state) and how many tokens they hold."""

    def __init__(self, states: Sequence[Any], max_tokens: int):
        self.states = list(states)
        self.max_tokens = max_tokens
        self.length = 0
        self.present_BS: torch.Tensor | None = None

    def read(self, length: int, device: torch.device, present_BT: torch.Tensor | None) -> Reading:
        """The next `length` tokens; `present_BT` says which are real, None that all are."""
        if present_BT is not None or self.present_BS is not None:
            self.present_BS = self._present(length, device, present_BT)
        return Reading(self.length, length, device, self.present_BS)

    def select(self, rows: torch.Tensor) -> None:
        """Row b becomes what row `rows[b]` was: rows (B',) int64."""
        for state in self.states:
            state.select(rows)
        if self.present_BS is not None:
            self.present_BS = self.present_BS[rows]

    def _present(self, length: int, device: torch.device, present_BT: torch.Tensor | None) -> torch.Tensor:
        known = present_BT if present_BT is not None else self.present_BS
        assert known is not None
        batch = known.shape[0]
        before = self.present_BS
        if before is None:
            before = torch.ones(batch, self.length, dtype=torch.bool, device=device)
        new = present_BT if present_BT is not None else torch.ones(batch, length, dtype=torch.bool, device=device)
        return torch.cat([before, new.bool()], dim=1)
