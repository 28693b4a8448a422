"""An adapter folded into its base: in float32, on the numbers the adapter was trained beside, rounded once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from types import ModuleType
from typing import Any

import torch

from hanlin.core.model.adapters.attach import adapters_of
from hanlin.core.model.adapters.dora import merged
from hanlin.core.model.adapters.lora import Adapted, Adapter
from hanlin.core.model.decoder import untie
from hanlin.core.model.nf4 import Nf4Linear
from hanlin.core.model.pretrained import empty_model, give_weights


def merge_adapter(model: Any, family: ModuleType) -> Any:
    """A plain model that answers as `model` with its adapters does, in the same dtype; matrices in 4 bits become what
    they stand for. It shares with `model` what the adapters left alone."""
    plain = empty_model(family, model.config)
    for name in set(plain.tied) - set(model.tied):
        untie(plain, name)
    adapters = adapters_of(model)
    untie_adapted(plain, adapters)
    state = MergedState(plain, partial(_frozen_value, model), adapters, model.dtype)
    give_weights(plain, {name: value.detach() for name, value in state.items()})
    return plain.train(model.training)


class MergedState(Mapping[str, torch.Tensor]):
    """Values of a plain model's parameters, computed when they are asked for.

    plain: a model of these shapes, `untie_adapted`. base: the value of the base's parameter of that name.
    dtype: of merged matrices; None keeps the base's.
    """

    def __init__(
        self,
        plain: Any,
        base: Callable[[str], torch.Tensor],
        adapters: Mapping[str, Adapter],
        dtype: torch.dtype | None = None,
    ):
        self._names = [name for name, _ in plain.named_parameters()]
        self._base, self._adapters, self._dtype = base, adapters, dtype

    @torch.no_grad()
    def __getitem__(self, name: str) -> torch.Tensor:
        value = self._base(name)
        module, _, leaf = name.rpartition(".")
        if leaf != "weight" or module not in self._adapters:
            return value
        adapter, dtype = self._adapters[module], self._dtype or value.dtype
        if module == "embed_tokens":
            return merged(value.mT, adapter).mT.to(dtype).contiguous()
        return merged(value, adapter).to(dtype)

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


def untie_adapted(model: Any, adapters: Mapping[str, Adapter]) -> None:
    """An adapter of the embedding is none of the head that shares its numbers, and the other way round: merged, the two
    are apart. The config then says so, and whether the head's input is scaled, which some read off the tying."""
    for name, source in dict(model.tied).items():
        if {name.removesuffix(".weight"), source.removesuffix(".weight")} & adapters.keys():
            untie(model, name)
            model.config["tie_word_embeddings"] = False
            if hasattr(model, "head_scale"):
                model.config["scale_decoder_outputs"] = model.head_scale != 1


def _frozen_value(model: Any, name: str) -> torch.Tensor:
    """The number under a model's adapters, by the name it has without. Of an adapted matrix in 4 bits float32."""
    path, _, leaf = name.rpartition(".")
    module = model.get_submodule(path)
    base = module.base if isinstance(module, Adapted) else module
    if isinstance(base, Nf4Linear) and leaf == "weight":
        return base.dequantized(torch.float32 if base is not module else model.dtype)
    return getattr(base, leaf)
