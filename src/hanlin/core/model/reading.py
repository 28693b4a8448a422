"""Where the tokens being read stand: worked out once in a forward pass and handed to every block."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch


class Piece(NamedTuple):
    """Neighbouring tokens of a packed row that belong together: one of its documents, or padding."""

    length: int
    real: bool


class Reading:
    """T new tokens after `start` cached ones; S = start + T in all.

    present_BS: which of the S tokens are real; None where all are. Padding may stand on the left: positions count real
    tokens only.
    documents_BT: int64, of packed rows, which of its row's documents a token belongs to (0, 1, 2, …), padding −1. Each
    is read as if it were alone: positions begin anew, and none sees another. Packed rows are read whole, without a
    cache.
    rows: the texts of a batch, each by itself, where they differ in what is cached (see RowsReading); else None.
    """

    def __init__(
        self,
        start: int,
        length: int,
        device: torch.device,
        present_BS: torch.Tensor | None = None,
        causal: bool = True,
        documents_BT: torch.Tensor | None = None,
    ):
        assert documents_BT is None or (start == 0 and present_BS is None), "packed rows are read whole"
        self.start, self.length, self.device, self.causal = start, length, device, causal
        self.present_BS, self.documents_BT = present_BS, documents_BT
        self.rows: list[Reading] | None = None
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
        """Of the new tokens: (T,), or (B, T) with padding or documents, int64."""
        return self.key_positions[..., self.start :]

    @property
    def key_positions(self) -> torch.Tensor:
        """Of all tokens so far: (S,), or (B, S) with padding or documents, int64. Padding on the left stands at 0, and
        so does any in packed rows."""
        if self.documents_BT is not None:
            return self.once("positions", self._places_in_documents)
        if self.present_BS is None:
            return torch.arange(self.total, device=self.device)
        return (self.present_BS.cumsum(-1) - 1).clamp(min=0)

    def _places_in_documents(self) -> torch.Tensor:
        assert self.documents_BT is not None
        places_T = torch.arange(self.length, device=self.device)
        first_BT = torch.where(_begins(self.documents_BT), places_T, 0).cummax(dim=1).values
        return (places_T - first_BT) * (self.documents_BT >= 0)

    def is_causal(self, mask: torch.Tensor | None) -> bool:
        """Whether attention without a mask has to hide the future itself."""
        return self.causal and mask is None and self.length > 1

    def mask(self, window: int | None = None) -> torch.Tensor | None:
        """Which keys each query sees, (T, S) or (B, 1, T, S) bool; None where plain (causal) attention does the same.

        window: a token sees itself and the `window` − 1 tokens before it.
        """
        reaches_all = window is None or self.total <= window
        nothing_hidden = self.start == 0 or self.length == 1 or not self.causal
        one_text = self.present_BS is None and self.documents_BT is None
        if one_text and reaches_all and nothing_hidden:
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
        if self.documents_BT is not None:
            piece_BT = _begins(self.documents_BT).cumsum(dim=1)
            seen = seen & (piece_BT[:, None, :, None] == piece_BT[:, None, None, :])
        return seen

    def distance(self) -> torch.Tensor:
        """(T, S): how many tokens the key stands before the query."""
        places_S = torch.arange(self.total, device=self.device)
        return places_S[self.start :, None] - places_S

    @property
    def one_by_one(self) -> bool:
        """Whether attention goes from document to document: on a CPU, where a mask costs the square of a whole row.
        Not while compiling, for every batch has other lengths; nor on a GPU, which would wait for many small calls."""
        return self.documents_BT is not None and self.device.type == "cpu" and not torch.compiler.is_compiling()

    @property
    def pieces(self) -> list[Piece]:
        """Of packed rows, one row after the other: their lengths sum to B·T."""
        return self.once("pieces", self._pieces)

    def _pieces(self) -> list[Piece]:
        assert self.documents_BT is not None
        first_N = _begins(self.documents_BT).flatten().nonzero()[:, 0]
        end = first_N.new_tensor([self.documents_BT.numel()])
        real = self.documents_BT.flatten()[first_N] >= 0
        return [Piece(*piece) for piece in zip(first_N.diff(append=end).tolist(), real.tolist())]

    @property
    def longest_piece(self) -> Reading:
        """The longest document of packed rows, by itself. What another's tokens see is a corner of what its see."""
        longest = max((piece.length for piece in self.pieces if piece.real), default=1)
        return self.once("longest piece", lambda: Reading(0, longest, self.device, causal=self.causal))


class RowsReading(Reading):
    """T new tokens of each of several texts, each after cached ones of its own: `starts` says how many.

    rows: the same texts, each by itself. What attention looks at is worked out row by row; all else is one batch.
    """

    def __init__(self, starts: Sequence[int], length: int, device: torch.device):
        super().__init__(max(starts), length, device)
        self.rows = [Reading(start, length, device) for start in starts]
        self._starts_B1 = torch.tensor(starts, device=device)[:, None]

    @property
    def positions(self) -> torch.Tensor:
        """(B, T) int64."""
        return self.once("positions", lambda: self._starts_B1 + torch.arange(self.length, device=self.device))


def _begins(documents_BT: torch.Tensor) -> torch.Tensor:
    """(B, T) bool: whether a token is the first of its piece."""
    changes = documents_BT.diff(dim=1) != 0
    return torch.cat([torch.ones_like(documents_BT[:, :1], dtype=torch.bool), changes], dim=1)
