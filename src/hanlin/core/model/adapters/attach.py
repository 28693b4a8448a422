"""Which matrices of a model get an adapter, and putting it there."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import torch
from torch import nn

from hanlin.core.model.adapters.dora import DoraEmbedding, DoraLinear, first_magnitude
from hanlin.core.model.adapters.lora import Adapted, Adapter, LoraEmbedding, LoraLinear
from hanlin.core.model.nf4 import IN_A_BLOCK, Nf4Linear
from hanlin.core.model.weights import Names, place
from hanlin.core.run.errors import HanlinError, did_you_mean

ALL_LINEAR = "all-linear"
ROUTER = "router"
"""Which expert reads a token is not learned with all-linear, only by name."""
READ_BY_OTHERS = ("dt_proj", "out_proj")
"""Layers of Mamba whose numbers its kernels use without calling them: nothing beside them would be seen. PEFT refuses
them too."""
MORE = "docs/adapters.md"


@dataclass(frozen=True)
class Lora:
    """rank: r. alpha: scale · r, with rslora scale · √r. dropout: share of x that the adapter does not see in training.

    targets: "all-linear" (every linear layer inside the blocks), or names, the last part of a module's name or more of
    it, as modules are called here (q_proj, attention.q_proj, embed_tokens, lm_head) or in the family's checkpoints.
    """

    rank: int = 16
    alpha: float = 32.0
    dropout: float = 0.0
    targets: tuple[str, ...] = (ALL_LINEAR,)
    rslora: bool = False
    dora: bool = False

    @property
    def scale(self) -> float:
        return self.alpha / (math.sqrt(self.rank) if self.rslora else self.rank)


def attach(model: Any, family: ModuleType, options: Lora, seed: int = 0) -> list[str]:
    """Freeze the model and put adapters beside the chosen matrices, in the model's dtype; return the names of what is
    trained. At first they change nothing: B is 0 (of an embedding A), A uniform in ±1/√in (B normal).

    Raises HanlinError for a target that no module is called by, and for a model that has adapters.
    """
    if adapters_of(model):
        raise HanlinError(
            "This model has an adapter already.",
            "a model without one",
            "hanlin merge adapter=ADAPTER out=FOLDER, and go on from the merged model",
            MORE,
        )
    random = torch.Generator().manual_seed(seed)
    modules = adaptable(model)
    chosen = choose(modules, family.names(model.config), options.targets)
    made = {name: _first(modules[name], options, random) for name in chosen}
    put(model, made, options.dropout)
    return [name for name, parameter in model.named_parameters() if parameter.requires_grad]


def put(model: Any, adapters: Mapping[str, Adapter], dropout: float = 0.0) -> None:
    """Freeze the model and put these adapters, by the names of the modules, into it."""
    model.requires_grad_(False)
    device, dtype = model.embed_tokens.weight.device, model.dtype
    for name, adapter in adapters.items():
        base = model.get_submodule(name)
        own = (adapter.lora_A, adapter.lora_B, adapter.magnitude)
        lora_A, lora_B, magnitude = (None if x is None else x.to(device, dtype, copy=True) for x in own)
        assert lora_A is not None and lora_B is not None
        wrap = _wrapper(base, dora=magnitude is not None)
        parent, _, leaf = name.rpartition(".")
        adapted = wrap(base, Adapter(lora_A, lora_B, adapter.scale, magnitude), dropout)
        setattr(model.get_submodule(parent), leaf, adapted.train(base.training))


def adapters_of(model: nn.Module) -> dict[str, Adapter]:
    """By the names of the modules they stand beside."""
    return {name: module.adapter() for name, module in model.named_modules() if isinstance(module, Adapted)}


def adaptable(model: nn.Module) -> dict[str, nn.Module]:
    """The modules an adapter can stand beside; where one does, the frozen one. An encoder-decoder's embedding is none:
    transformers has it in three places, and PEFT would change one of them."""
    found: dict[str, nn.Module] = {}
    for name, module in model.named_modules():
        path, _, leaf = name.rpartition(".")
        if (leaf == "base" and path in found) or leaf in READ_BY_OTHERS:
            continue
        base = module.base if isinstance(module, Adapted) else module
        if isinstance(base, nn.Linear | Nf4Linear) or (name == "embed_tokens" and not hasattr(model, "encoder")):
            found[name] = base
    return found


def choose(modules: Mapping[str, nn.Module], names: Names, targets: Sequence[str]) -> list[str]:
    """The names among `modules` that `targets` mean, in the model's order."""
    chosen: set[str] = set()
    for target in targets:
        found = {name for name in modules if _means(target, name, names)}
        if not found:
            leaves = {name.rpartition(".")[2] for name in modules} | {ALL_LINEAR}
            raise HanlinError(
                f'No matrix of this model is called "{target}".',
                did_you_mean(target, leaves),
                f"lora.targets=[{ALL_LINEAR}]",
                MORE,
            )
        chosen |= found
    return [name for name in modules if name in chosen]


def checkpoint_module(name: str, names: Names) -> str:
    """What the family's checkpoints call the module our `name` lies in."""
    return place(f"{name}.weight", names).name.removesuffix(".weight")


def _means(target: str, name: str, names: Names) -> bool:
    if target == ALL_LINEAR:
        return IN_A_BLOCK.search(name) is not None and not name.endswith(f".{ROUTER}")
    return any(f".{known}".endswith(f".{target}") for known in (name, checkpoint_module(name, names)))


def _wrapper(base: nn.Module, dora: bool) -> Callable[..., Adapted]:
    if isinstance(base, nn.Embedding):
        return DoraEmbedding if dora else LoraEmbedding
    return DoraLinear if dora else LoraLinear


def _first(base: Any, options: Lora, random: torch.Generator) -> Adapter:
    """Drawn on the CPU, so that every machine draws the same."""
    if isinstance(base, nn.Embedding):
        lora_A = torch.zeros(options.rank, base.num_embeddings)
        lora_B = torch.empty(base.embedding_dim, options.rank).normal_(generator=random)
    else:
        bound = base.in_features**-0.5
        lora_A = torch.empty(options.rank, base.in_features).uniform_(-bound, bound, generator=random)
        lora_B = torch.zeros(base.out_features, options.rank)
    return Adapter(lora_A, lora_B, options.scale, first_magnitude(base) if options.dora else None)
