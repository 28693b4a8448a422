"""Where the tokens being read stand: worked out once in a forward pass and handed to every block."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch


class Reading:
    """T new tokens after `start` cached ones; S = start + T in all.

    present_BS: which of the S tokens are real; None where all are. Padding may stand on the left: positions count real
    tokens only.
    """

    def __init__(
        self,
        start: int,
        length: int,
        device: torch.device,
        present_BS: torch.Tensor | None = None,
        causal: bool = True,
    ):
        self.start, self.length, self.device, self.causal = start, length, device, causal
        self.present_BS = present_BS
        self._kept: dict[Any, Any] = {}

    @property
    def total(self) -> int:
        """S, the cached tokens and the new ones."""
        return self.start + self.length

    def once(self, key: Any, make: Callable[[], Any]) -> Any:
        """What `make` gives, made at the first request in this pass."""
        if key not in self._kept:
            self._kept[key] = make()
        return self._kept[key]

    @property
    def positions(self) -> torch.Tensor:
        """Of the new tokens: (T,), or (B, T) with padding, int64."""
        return self.key_positions[..., self.start :]

    @property
    def key_positions(self) -> torch.Tensor:
        """Of all tokens so far: (S,), or (B, S) with padding, int64. Padding on the left stands at 0."""
        if self.present_BS is None:
            return torch.arange(self.total, device=self.device)
        return (self.present_BS.cumsum(-1) - 1).clamp(min=0)

    def is_causal(self, mask: torch.Tensor | None) -> bool:
        """Whether attention without a mask has to hide the future itself."""
        return self.causal and mask is None and self.length > 1

    def mask(self, window: int | None = None) -> torch.Tensor | None:
        """Which keys each query sees, (T, S) or (B, 1, T, S) bool; None where plain (causal) attention does the same.

        window: a token sees itself and the `window` − 1 tokens before it.
        """
        reaches_all = window is None or self.total <= window
        nothing_hidden = self.start == 0 or self.length == 1 or not self.causal
        if self.present_BS is None and reaches_all and nothing_hidden:
            return None
        return self.once(("mask", window), lambda: self._mask(window))

    def _mask(self, window: int | None) -> torch.Tensor:
        distance_TS = self.distance()
        seen = distance_TS >= 0 if self.causal else torch.ones_like(distance_TS, dtype=torch.bool)
        if window is not None:
            seen = seen & (distance_TS < window)
        if self.present_BS is not None:
            # A padding token sees itself, so that no row of the softmax is empty.
            seen = (seen & self.present_BS[:, None, None, :]) | (distance_TS == 0)
        return seen

    def distance(self) -> torch.Tensor:
        """(T, S): how many tokens the key stands before the query."""
        places_S = torch.arange(self.total, device=self.device)
        return places_S[self.start :, None] - places_S
