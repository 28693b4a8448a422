"""Several adapters beside one model, another for each text of a batch: a matrix is multiplied once for all rows, and to
a row comes what its own adapter adds. Sheng et al. 2023 (S-LoRA), https://arxiv.org/abs/2311.03285.

    y_i = W·x_i + b + scale_a·B_a·A_a·x_i        a: row i's adapter

With DoRA y_i is then weighted as in dora.py; nothing is trained here, so those weights are worked out once.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from hanlin.core.model.adapters.attach import adaptable
from hanlin.core.model.adapters.lora import Adapter, Around, changed, matrix_of
from hanlin.core.model.mixture import Mixture

BASE = ""
"""The name of no adapter."""


class Assigned:
    """Which rows of the pass under way have which adapter. All switched modules of a model look here."""

    def __init__(self) -> None:
        self._ends: list[tuple[str, int]] = []
        self._num_rows = 0

    def assign(self, names: Sequence[str]) -> None:
        """Of a batch's texts; BASE for none. Neighbours with the same adapter go together."""
        self._num_rows, self._ends, end = len(names), [], 0
        for name, same in itertools.groupby(names):
            end += len(list(same))
            self._ends.append((name, end))

    def runs(self, num_rows: int) -> Iterator[tuple[str, slice]]:
        """Where each adapter works among so many rows of numbers, as many of each text, one text after the other."""
        first = 0
        for name, end in self._ends:
            last = end * num_rows // self._num_rows
            if name != BASE and first < last:
                yield name, slice(first, last)
            first = last

    def run_expert(self, expert: nn.Module, x_NC: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
        """An expert reads some of the tokens: Mixture.run_expert."""
        outside = self._ends, self._num_rows
        ends = tokens.new_tensor([end * len(x_NC) // self._num_rows for _, end in self._ends])
        names = [name for name, _ in self._ends]
        self._ends = list(zip(names, torch.searchsorted(tokens, ends).tolist()))
        self._num_rows = len(tokens)
        try:
            return expert(x_NC[tokens])
        finally:
            self._ends, self._num_rows = outside


class Switched(Around):
    """adapters: by their names; where a magnitude stands in one, it is the weight of each output, m/‖W + scale·B·A‖."""

    def __init__(self, base: nn.Module, adapters: Mapping[str, Adapter], assigned: Assigned):
        super().__init__(base)
        self._adapters, self._assigned = adapters, assigned

    def extra_repr(self) -> str:
        return ", ".join(f"{name}: rank {adapter.rank}" for name, adapter in self._adapters.items())

    def _own(self, num_rows: int) -> Iterator[tuple[Adapter, slice]]:
        for name, rows in self._assigned.runs(num_rows):
            if name in self._adapters:
                yield self._adapters[name], rows


class SwitchedLinear(Switched):
    """Around a linear layer, or whatever behaves like one."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x_NI = x.flatten(0, -2)
        y_NO = self.base(x_NI)
        for adapter, rows in self._own(len(x_NI)):
            own_NO = y_NO[rows].addmm_(F.linear(x_NI[rows], adapter.lora_A), adapter.lora_B.mT, alpha=adapter.scale)
            if adapter.magnitude is not None:
                own_NO.mul_(adapter.magnitude)
                if self.bias is not None:
                    own_NO.add_((1 - adapter.magnitude) * self.bias)
        return y_NO.unflatten(0, x.shape[:-1])


class SwitchedEmbedding(Switched):
    """Around an embedding."""

    def forward(self, ids_BT: torch.Tensor) -> torch.Tensor:
        x_BTC = self.base(ids_BT)
        for adapter, rows in self._own(len(ids_BT)):
            h_BTR = F.embedding(ids_BT[rows], adapter.lora_A.mT)
            own_BTC = x_BTC[rows].add_(F.linear(h_BTR * adapter.scale, adapter.lora_B))
            if adapter.magnitude is not None:
                own_BTC.mul_(adapter.magnitude)
        return x_BTC


@torch.no_grad()
def put_switched(model: Any, adapters: Mapping[str, Mapping[str, Adapter]]) -> Assigned:
    """Put adapters into a model, in its dtype: their names → the names of the modules they stand beside → theirs."""
    assigned, modules = Assigned(), adaptable(model)
    for module in model.modules():
        if isinstance(module, Mixture):
            module.run_expert = assigned.run_expert
    for name in dict.fromkeys(name for adapter in adapters.values() for name in adapter):
        base = modules[name]
        own = {key: _ready(base, adapter[name], model) for key, adapter in adapters.items() if name in adapter}
        parent, _, leaf = name.rpartition(".")
        switched = SwitchedEmbedding if isinstance(base, nn.Embedding) else SwitchedLinear
        setattr(model.get_submodule(parent), leaf, switched(base, own, assigned))
    model.tied = {}
    return assigned


def _ready(base: nn.Module, adapter: Adapter, model: Any) -> Adapter:
    """On the model's device, in its dtype; of a magnitude the weights it means."""
    device, dtype = model.embed_tokens.weight.device, model.dtype
    ready = Adapter(adapter.lora_A.to(device, dtype), adapter.lora_B.to(device, dtype), adapter.scale)
    if adapter.magnitude is None:
        return ready
    lengths_O = torch.linalg.vector_norm(changed(matrix_of(base), ready), dim=1)
    return replace(ready, magnitude=(adapter.magnitude.to(device) / lengths_O).to(dtype))
