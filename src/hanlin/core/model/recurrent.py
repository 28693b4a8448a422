"""What recurrent mixers share: padding and other documents out of their way, the inputs just before, and texts cut into
chunks."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import torch
import torch.nn.functional as F
from torch import nn

from hanlin.core.model.reading import Reading


class RealTokens:
    """The tokens being read, real ones first. A state would keep what padding says and a window would look at it, so
    padding is moved behind the real tokens of its piece, where neither sees it, and moved back in what comes out.

    present_BT: which are real, in the new order; None where all are. counts_B: how many.
    """

    def __init__(self, present_BT: torch.Tensor | None):
        self.present_BT = self.counts_B = self._order_BT = None
        if present_BT is not None:
            self._order_BT = (~present_BT).int().argsort(dim=1, stable=True)
            self.present_BT, self.counts_B = present_BT.gather(1, self._order_BT), present_BT.sum(dim=1)

    @classmethod
    def of(cls, reading: Reading) -> RealTokens:
        if reading.documents_BT is not None:
            return reading.once("real tokens", lambda: Unpacked(reading))
        present_BS = reading.present_BS
        return reading.once(
            "real tokens", lambda: cls(None if present_BS is None else present_BS[:, reading.start :].bool())
        )

    def first(self, x_BTC: torch.Tensor) -> torch.Tensor:
        if self._order_BT is None:
            return x_BTC
        return x_BTC.gather(1, self._order_BT[..., None].expand_as(x_BTC))

    def back(self, x_BTC: torch.Tensor) -> torch.Tensor:
        """The reverse of `first`."""
        if self._order_BT is None:
            return x_BTC
        return torch.zeros_like(x_BTC).scatter(1, self._order_BT[..., None].expand_as(x_BTC), x_BTC)

    def padding_as(self, x_BTC: torch.Tensor, value: float) -> torch.Tensor:
        """`value` in place of what padding (behind the real tokens) says."""
        return x_BTC if self.present_BT is None else x_BTC.masked_fill(~self.present_BT[..., None], value)


class Unpacked(RealTokens):
    """Packed rows with a row for each document, N of them, as long as the longest: a state would run on into the next.
    So in recurrent mixers packing saves nothing, and a long document among short ones costs its length for each.
    """

    def __init__(self, reading: Reading):
        assert reading.documents_BT is not None
        self._shape = reading.documents_BT.shape
        real = torch.tensor([piece.real for piece in reading.pieces])
        lengths = torch.tensor([piece.length for piece in reading.pieces])
        first_N, lengths_N = (lengths.cumsum(0) - lengths)[real, None], lengths[real, None]
        places_L = torch.arange(reading.longest_piece.length)
        self.present_BT = (places_L < lengths_N).to(reading.device)
        self.counts_B = lengths_N[:, 0].to(reading.device)
        # Behind its end a document is filled up with its own first token, which no earlier one sees.
        self._places_NL = (first_N + places_L * (places_L < lengths_N)).to(reading.device)

    def first(self, x_BTC: torch.Tensor) -> torch.Tensor:
        """(B, T, C) → (N, L, C)."""
        return x_BTC.flatten(0, 1)[self._places_NL]

    def back(self, x_NLC: torch.Tensor) -> torch.Tensor:
        assert self.present_BT is not None
        whole = x_NLC.new_zeros(self._shape.numel(), x_NLC.shape[2])
        return whole.index_copy(0, self._places_NL[self.present_BT], x_NLC[self.present_BT]).view(*self._shape, -1)


class Past:
    """The last `length` real inputs of a layer, (B, length, C); zeros before the first token."""

    def __init__(self, batch: int, length: int, width: int, dtype: torch.dtype, device: torch.device):
        self.inputs_BSC = torch.zeros(batch, length, width, dtype=dtype, device=device)

    def extend(self, x_BTC: torch.Tensor, tokens: RealTokens) -> torch.Tensor:
        """(B, length + T, C): those before the new ones (real first), and the new ones. Keeps the last."""
        whole = torch.cat([self.inputs_BSC, x_BTC], dim=1)
        T = x_BTC.shape[1]
        if tokens.counts_B is None:
            self.inputs_BSC = whole[:, T:]
        else:
            length = self.inputs_BSC.shape[1]
            places = tokens.counts_B[:, None] + torch.arange(length, device=whole.device)
            self.inputs_BSC = whole.gather(1, places[..., None].expand(-1, -1, whole.shape[2]))
        return whole


class RecurrentState:
    """What a recurrent mixer keeps of the texts of a batch: tensors whose first dimension is the batch, whatever has
    been read."""

    def tensors(self) -> list[torch.Tensor]:
        raise NotImplementedError

    def put(self, tensors: Sequence[torch.Tensor]) -> None:
        """Keep these instead, in the order of `tensors`."""
        raise NotImplementedError

    def select(self, rows: torch.Tensor) -> None:
        """Row b becomes what row `rows[b]` was."""
        self.put([tensor[rows] for tensor in self.tensors()])


def with_past(x_BTC: torch.Tensor, length: int, tokens: RealTokens, past: Past | None) -> torch.Tensor:
    """(B, length + T, C): what stands before the new inputs, zeros at the text's beginning, and the new ones."""
    return F.pad(x_BTC, (0, 0, length, 0)) if past is None else past.extend(x_BTC, tokens)


class CausalConvolution(nn.Module):
    """y_t = b + Σ_j w_j ⊙ x_(t − K + 1 + j), each channel by itself, over the K last inputs."""

    def __init__(self, width: int, kernel: int, bias: bool):
        super().__init__()
        bound = kernel**-0.5
        self.weight = nn.Parameter(torch.empty(width, 1, kernel).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.zeros(width)) if bias else None

    def forward(self, x_BTC: torch.Tensor, tokens: RealTokens, past: Past | None) -> torch.Tensor:
        width, _, kernel = self.weight.shape
        whole = with_past(x_BTC, kernel - 1, tokens, past)
        return F.conv1d(whole.mT, self.weight, self.bias, groups=width).mT

    def new_past(self, batch: int) -> Past:
        width, _, kernel = self.weight.shape
        return Past(batch, kernel - 1, width, self.weight.dtype, self.weight.device)


class Float32RMSNorm(nn.Module):
    """RMSNorm of what may be float32 in a bfloat16 model: computed in float32, rounded to the weight's dtype."""

    def __init__(self, width: int, eps: float):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.eps = eps

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.rms_norm(x.float(), (x.shape[-1],), self.weight.float(), self.eps).to(self.weight.dtype)


def one_by_one(*tensors: torch.Tensor) -> Iterator[tuple[torch.Tensor, ...]]:
    """Each (B, T, …) → T times (B, …), all together."""
    return zip(*(tensor.unbind(1) for tensor in tensors))


def even_chunks(length: int) -> int:
    """√length, rounded up: as many chunks as tokens in one, so that steps inside and between chunks are fewest."""
    return math.isqrt(max(length - 1, 0)) + 1


def cut(x_BTC: torch.Tensor, chunk: int, value: float = 0.0) -> torch.Tensor:
    """(B, T, C) → (B·chunks, chunk, C), every chunk a row of its own; the last is filled up with `value`."""
    x_BTC = F.pad(x_BTC, (0, 0, 0, -x_BTC.shape[1] % chunk), value=value)
    return x_BTC.reshape(-1, chunk, x_BTC.shape[2])


def uncut(x: torch.Tensor, batch: int, length: int) -> torch.Tensor:
    """The reverse of `cut`: (B·chunks, chunk, C) → (B, T, C)."""
    return x.reshape(batch, -1, x.shape[2])[:, :length]
