"""A small model of the same family and tokenizer: some of the model's own blocks, its embedding, norm and head. So
Sanh et al. 2019 (DistilBERT), https://arxiv.org/abs/1910.01108, section 3, begin their student."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from torch import nn

from hanlin.core.model.anatomy import describe
from hanlin.core.model.decoder import untie
from hanlin.core.model.pretrained import Pretrained, empty_model, give_weights
from hanlin.core.run.errors import HanlinError

LAYER_COUNTS = ("num_hidden_layers", "n_layer", "n_layers")
"""What families call the number of blocks in their config."""


def student_of(loaded: Pretrained, num_layers: int) -> Pretrained:
    """The same model with `num_layers` of its blocks, evenly spread, the first and the last among them; every number is
    a copy. 0 takes a sixth. Raises HanlinError where the model has no more than that."""
    model = loaded.model
    total = len(model.layers)
    num_layers = num_layers or max(1, round(total / 6))
    if num_layers >= total:
        raise HanlinError(
            f"draft.layers={num_layers}: the model has {total} blocks.",
            "a draft that is smaller than the model",
            f"draft.layers={max(1, total // 6)}" if total > 1 else "engine.speculate=lookup needs no draft",
            "docs/speculate.md",
        )
    wanted = spread(num_layers, total)
    student = empty_model(loaded.family, smaller_config(model.config, wanted, total))
    for name in [name for name in student.tied if name not in model.tied]:
        untie(student, name)
    taken = alike_layers(student.layers, model.layers, wanted)
    state = {name: model.get_parameter(_source(name, taken)).detach().clone() for name, _ in student.named_parameters()}
    give_weights(student, state)
    return replace(loaded, model=student.eval())


def spread(count: int, total: int) -> list[int]:
    """`count` of `total` places, as even as can be, the first and the last among them; of one the first."""
    return [round(place * (total - 1) / max(1, count - 1)) for place in range(count)]


def smaller_config(config: Mapping[str, Any], kept: Sequence[int], total: int) -> dict[str, Any]:
    """The config with as many layers; lists that say something of each layer keep what they say of the `kept`."""
    smaller = {**config, **{name: len(kept) for name in LAYER_COUNTS if config.get(name) == total}}
    for name, value in config.items():
        if "layer" in name and isinstance(value, list | tuple) and len(value) == total:
            smaller[name] = [value[place] for place in kept]
    return smaller


def alike_layers(students: Iterable[nn.Module], models: Iterable[nn.Module], wanted: Sequence[int]) -> list[int]:
    """For each of the student's blocks the model's block nearest to the wanted one that is like it: where kinds of
    attention follow a pattern, the pattern of fewer blocks may call for another."""
    kinds = [_kind(block) for block in models]
    places = range(len(kinds))
    return [
        min((place for place in places if kinds[place] == _kind(block)), key=lambda place: abs(place - near))
        for block, near in zip(students, wanted)
    ]


def _kind(block: nn.Module) -> tuple[Any, ...]:
    return (describe(block), *((name, tuple(parameter.shape)) for name, parameter in block.named_parameters()))


def _source(name: str, taken: Sequence[int]) -> str:
    """layers.2.mlp.… of the student → layers.{taken[2]}.mlp.… of the model."""
    first, *rest = name.split(".")
    return ".".join([first, str(taken[int(rest[0])]), *rest[1:]]) if first == "layers" else name
