"""What a model keeps of many texts at once: keys and values in shared blocks, recurrent states one by one."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import torch

from hanlin.core.generate.blocks import stretches
from hanlin.core.model.cache import KeyValues
from hanlin.core.model.reading import Reading, RowsReading
from hanlin.core.model.recurrent import RecurrentState


class Pages(Protocol):
    """Keys and values of one layer, in slots: slot = block · tokens a block + place in the block."""

    def write(self, slots_N: torch.Tensor, k_NKD: torch.Tensor, v_NKD: torch.Tensor) -> None: ...

    def read(self, first: int, last: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Slots first … last − 1: (S, K, D) each."""
        ...

    @property
    def num_bytes(self) -> int: ...


class PlainPages:
    """As they are."""

    def __init__(self, num_slots: int, num_kv_heads: int, head_width: int, dtype: torch.dtype, device: torch.device):
        shape = (num_slots, num_kv_heads, head_width)
        self.keys, self.values = (zeros(shape, dtype, device) for _ in range(2))

    def write(self, slots_N: torch.Tensor, k_NKD: torch.Tensor, v_NKD: torch.Tensor) -> None:
        self.keys.index_copy_(0, slots_N, k_NKD.to(self.keys.dtype))
        self.values.index_copy_(0, slots_N, v_NKD.to(self.values.dtype))

    def read(self, first: int, last: int) -> tuple[torch.Tensor, torch.Tensor]:
        return self.keys[first:last], self.values[first:last]

    @property
    def num_bytes(self) -> int:
        return 2 * self.keys.numel() * self.keys.element_size()


def zeros(shape: tuple[int, ...], dtype: torch.dtype, device: torch.device) -> torch.Tensor:
    """torch.zeros, but on a CPU memory is taken and cleared where it is first used: a cache may be gigabytes."""
    if device.type != "cpu":
        return torch.zeros(shape, dtype=dtype, device=device)
    return torch.from_numpy(np.zeros(math.prod(shape) * dtype.itemsize, np.uint8)).view(dtype).view(shape)


class Int8Pages:
    """As whole numbers from −127 to 127 times a scale of each token and head, max|x|/127: half of bfloat16's memory."""

    def __init__(self, num_slots: int, num_kv_heads: int, head_width: int, dtype: torch.dtype, device: torch.device):
        codes, scales = (num_slots, num_kv_heads, head_width), (num_slots, num_kv_heads, 1)
        self.dtype = dtype
        self.codes = [zeros(codes, torch.int8, device) for _ in range(2)]
        self.scales = [zeros(scales, torch.float32, device) for _ in range(2)]

    def write(self, slots_N: torch.Tensor, k_NKD: torch.Tensor, v_NKD: torch.Tensor) -> None:
        for codes, scales, x_NKD in zip(self.codes, self.scales, (k_NKD.float(), v_NKD.float())):
            scale_NK1 = x_NKD.abs().amax(-1, keepdim=True) / 127
            divisor_NK1 = torch.where(scale_NK1 > 0, scale_NK1, 1.0)
            codes.index_copy_(0, slots_N, (x_NKD / divisor_NK1).round().to(torch.int8))
            scales.index_copy_(0, slots_N, scale_NK1)

    def read(self, first: int, last: int) -> tuple[torch.Tensor, torch.Tensor]:
        k, v = (
            codes[first:last].to(self.dtype) * scales[first:last].to(self.dtype)
            for codes, scales in zip(self.codes, self.scales)
        )
        return k, v

    @property
    def num_bytes(self) -> int:
        return sum(tensor.numel() * tensor.element_size() for tensor in (*self.codes, *self.scales))


class Memory:
    """Of a model, for texts that together hold up to num_blocks · block_tokens tokens.

    kind: "plain" or "int8". What a text keeps beside its blocks (recurrent states, one tensor list a layer) is its own.
    """

    def __init__(self, model: Any, num_blocks: int, block_tokens: int, kind: str = "plain"):
        self.block_tokens = block_tokens
        self.device, dtype = model.embed_tokens.weight.device, model.dtype
        self._templates = model.new_cache(1, 1).states
        make = Int8Pages if kind == "int8" else PlainPages
        self.pages: list[Pages | None] = []
        for state in self._templates:
            if isinstance(state, KeyValues):
                _, K, _, D = state.keys.shape
                self.pages.append(make(num_blocks * block_tokens, K, D, dtype, self.device))
            else:
                assert isinstance(state, RecurrentState)
                self.pages.append(None)

    @property
    def recurrent(self) -> bool:
        """Whether any layer keeps a state that can't be taken back token by token."""
        return None in self.pages

    def first(self, num_layers: int) -> Memory:
        """The same places, for a model of the first layers alone."""
        part = copy.copy(self)
        part.pages, part._templates = self.pages[:num_layers], self._templates[:num_layers]
        return part

    def fresh_state(self, layer: int) -> Any:
        """An object for the recurrent state of one layer, its tensors to be put."""
        return copy.deepcopy(self._templates[layer])

    def empty_states(self) -> list[list[torch.Tensor]]:
        """A new text's recurrent states."""
        return [
            [tensor.clone() for tensor in state.tensors()]
            for state, pages in zip(self._templates, self.pages)
            if pages is None
        ]


def bytes_per_token(model: Any, kind: str = "plain") -> int:
    """What a token adds to the memory of all layers."""
    one = Memory(model, 1, 1, kind)
    return sum(pages.num_bytes for pages in one.pages if pages is not None)


class Row(Protocol):
    """One text being read: what it holds. `length` tokens are cached."""

    length: int
    blocks: list[int]
    states: list[list[torch.Tensor]]


class Batch:
    """The cache of one forward pass over some rows; takes the place of core/model's Cache."""

    def __init__(self, memory: Memory, rows: Sequence[Row], num_tokens: int):
        self._memory, self._rows, self._num_tokens = memory, rows, num_tokens
        self._slots_N = self._slots()
        self._stretches = [stretches(row.blocks) for row in rows]
        self._joined: list[Any] = []
        self.states = [self._state(layer, pages) for layer, pages in enumerate(memory.pages)]
        self.length = 0

    def read(self, length: int, device: torch.device, present_BT: torch.Tensor | None) -> Reading:
        assert length == self._num_tokens and present_BT is None
        return RowsReading([row.length for row in self._rows], length, device)

    def keep_states(self) -> None:
        """Hand each row its recurrent states after the pass."""
        for number, row in enumerate(self._rows):
            row.states = [[t[number : number + 1] for t in state.tensors()] for state in self._joined]

    def slots_since(self, number: int, first: int) -> list[tuple[int, int]]:
        """Where row `number`'s tokens lie from its token `first` to its last new one: stretches of slots."""
        size, row = self._memory.block_tokens, self._rows[number]
        last, start, found = row.length + self._num_tokens, 0, []
        for block, count in self._stretches[number]:
            begin, end = max(first, start), min(last, start + count * size)
            if begin < end:
                found.append((block * size + begin - start, block * size + end - start))
            start += count * size
        return found

    def _slots(self) -> torch.Tensor:
        """Of the new tokens of all rows, one after the other."""
        if self._memory.recurrent:
            return torch.empty(0, dtype=torch.int64)
        size, T = self._memory.block_tokens, self._num_tokens
        places = (
            (row.blocks[place // size] * size + place % size)
            for row in self._rows
            for place in range(row.length, row.length + T)
        )
        return torch.tensor(list(places), dtype=torch.int64, device=self._memory.device)

    def _state(self, layer: int, pages: Pages | None) -> Any:
        if pages is not None:
            return LayerRows(self, pages, self._slots_N)
        number = len(self._joined)
        state = self._memory.fresh_state(layer)
        state.put([torch.cat(parts) for parts in zip(*(row.states[number] for row in self._rows))])
        self._joined.append(state)
        return state


class LayerRows:
    """One layer's keys and values of a batch's rows: attention's RowsOfKeyValues."""

    def __init__(self, batch: Batch, pages: Pages, slots_N: torch.Tensor):
        self._batch, self.pages, self.slots_N = batch, pages, slots_N

    def write(self, k_BTKD: torch.Tensor, v_BTKD: torch.Tensor) -> None:
        self.pages.write(self.slots_N, k_BTKD.flatten(0, 1), v_BTKD.flatten(0, 1))

    def since(self, row: int, first: int) -> tuple[torch.Tensor, torch.Tensor]:
        parts = [self.pages.read(*slots) for slots in self.stretches(row, first)]
        k_SKD, v_SKD = parts[0] if len(parts) == 1 else (torch.cat(part) for part in zip(*parts))
        return k_SKD.transpose(0, 1)[None], v_SKD.transpose(0, 1)[None]

    def stretches(self, row: int, first: int) -> list[tuple[int, int]]:
        """The slots of a row's tokens from `first` on: (begin, end) of each run of neighbours."""
        return self._batch.slots_since(row, first)
