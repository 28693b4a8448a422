"""How much of each source a model reads, and in which order.

Of a source with n characters (or tokens), `epochs` e means that its rows are read e times: e = 2 twice, e = 0.3 three
rows in ten. Which ones is decided by the hash of (seed, id), so a row's fate does not depend on the others. Shares p of
the whole mixture N come from e = p·N / n:

    weights w         p ∝ w
    temperature T     p ∝ n^(1/T): 1 leaves the sizes, more lifts small sources (Conneau and Lample 2019,
                      https://arxiv.org/abs/1901.07291, eq. 1, with α = 1/T)

No source is read more than `most_epochs` times: about four readings are worth nearly as much as new text (Muennighoff
et al. 2023, https://arxiv.org/abs/2305.16264). Where a share asks for more, the whole mixture becomes smaller.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from pydantic import Field, model_validator

from hanlin.core.run.config import Config
from hanlin.core.run.errors import HanlinError

if TYPE_CHECKING:
    from hanlin.core.text.documents import Row


class Mix(Config):
    """Shares of the sources in what is trained on, and its order. Held-out rows are thinned alike, never repeated."""

    weights: tuple[float, ...] | dict[str, float] = Field(
        (),
        description="share of the mixture for each source (any numbers: 3 and 1 are ¾ and ¼), in the order of sources, "
        "or by the last part of their addresses: {law: 3, poems: 1}",
    )
    epochs: tuple[float, ...] | dict[str, float] = Field(
        (),
        description="how often each source is read, in their order or by name: 0.3 takes three rows in ten, 2 all "
        "twice; a source that is not named is read once",
    )
    temperature: float = Field(
        1.0, ge=1, le=100, description="shares ∝ size^(1/temperature): 1 as large as they are, more lifts small sources"
    )
    most_epochs: float = Field(
        4.0, gt=0, le=100, description="with weights or temperature: a source is read no more often"
    )
    total: int | None = Field(
        None,
        ge=1,
        description="size of the whole mixture in characters, with tokenizer=… in tokens. Default: that of the sources",
    )
    order: Literal["as_read", "shuffled", "short_first", "easy_first"] = Field(
        "as_read",
        description="of the rows for training: as they were read, by chance, by length (a curriculum), or by "
        "the perplexity step's bits per character",
    )

    @model_validator(mode="after")
    def _one_way(self) -> Mix:
        if bool(self.weights) + bool(self.epochs) + (self.temperature != 1) > 1:
            raise ValueError("weights, epochs and temperature are three ways to say the same; choose one")
        if self.epochs and self.total:
            raise ValueError("total follows from epochs; give weights or a temperature instead")
        given = [numbers.values() if isinstance(numbers, dict) else numbers for numbers in (self.weights, self.epochs)]
        if any(value < 0 for numbers in given for value in numbers):
            raise ValueError("weights and epochs are not negative")
        return self

    @property
    def changes_amounts(self) -> bool:
        return bool(self.weights or self.epochs or self.total or self.temperature != 1)


@dataclass(frozen=True)
class Portion:
    """What the mixture takes of one source. size: of the source, in `unit`; share: of the mixture."""

    source: str
    size: int
    unit: str
    epochs: float
    share: float


def portions(names: Sequence[str], sizes: Sequence[int], mix: Mix, unit: str = "characters") -> list[Portion]:
    """How often each source is read. Raises HanlinError where weights or epochs are not one for each source."""
    if mix.epochs:
        epochs = _one_each("epochs", mix.epochs, names, 1.0)
    else:
        weights = _one_each("weights", mix.weights, names, None) if mix.weights else None
        epochs = _epochs(sizes, weights or [size ** (1 / mix.temperature) for size in sizes], mix)
    total = sum(size * times for size, times in zip(sizes, epochs))
    return [
        Portion(name, size, unit, round(times, 6), round(size * times / total, 6) if total else 0.0)
        for name, size, times in zip(names, sizes, epochs)
    ]


def unused_names(names: Sequence[str], mix: Mix) -> list[str]:
    """Names that weights or epochs have a number for, and no source has."""
    given = mix.weights or mix.epochs
    known = {*names, *map(_short, names)}
    return [name for name in given if name not in known] if isinstance(given, dict) else []


def check_amounts(names: Sequence[str], mix: Mix) -> None:
    """Raises HanlinError where weights or epochs don't fit the sources: before anything is read."""
    portions(names, [1] * len(names), mix)


def _one_each(
    option: str, given: tuple[float, ...] | dict[str, float], names: Sequence[str], default: float | None
) -> list[float]:
    if isinstance(given, dict):
        found = [given.get(name, given.get(_short(name), default)) for name in names]
    else:
        found = [*given, *[None] * (len(names) - len(given))]
    if len(found) != len(names) or None in found:
        raise _not_one_each(option, given, [_short(name) for name in names])
    return [float(number) for number in found if number is not None]


def _short(name: str) -> str:
    return name.rstrip("/").removeprefix("file:").rpartition("/")[2]


def _epochs(sizes: Sequence[int], wanted: Sequence[float], mix: Mix) -> list[float]:
    wanted = [weight if size else 0.0 for weight, size in zip(wanted, sizes)]
    if not (sum_wanted := sum(wanted)):
        return [0.0] * len(sizes)
    shares = [weight / sum_wanted for weight in wanted]
    largest = min(mix.most_epochs * size / share for size, share in zip(sizes, shares) if share)
    total = min(float(mix.total or sum(sizes)), largest)
    return [share * total / size if size else 0.0 for size, share in zip(sizes, shares)]


def copies(row_id: str, epochs: float, seed: int) -> int:
    """How often this row is read: ⌊epochs⌋ or one more, by chance; epochs on average."""
    whole = int(epochs)
    return whole + (chance(seed, "copies", row_id) < epochs - whole)


def order_key(row: Row, mix: Mix, seed: int) -> float:
    """What rows for training are sorted by; equal ones by chance. Raises HanlinError where a row has no such key."""
    if mix.order == "short_first":
        return float(row.characters)
    if mix.order == "easy_first":
        bits = row.notes.get("perplexity")
        if not isinstance(bits, int | float):
            raise nothing_to_sort_by(row.id)
        return float(bits)
    return chance(seed, "order", row.id)


def chance(seed: int, use: str, name: str) -> float:
    """A number in [0, 1) that seed, use and name alone decide."""
    return int.from_bytes(hashlib.sha256(f"{seed}\0{use}\0{name}".encode()).digest()[:8], "big") / 2**64


def _not_one_each(option: str, given: tuple[float, ...] | dict[str, float], names: Sequence[str]) -> HanlinError:
    if isinstance(given, dict):
        said, example = f"numbers for {', '.join(given)}", ", ".join(f"{name}: 1" for name in names).join("{}")
    else:
        said, example = f"{len(given)} numbers", ", ".join("1" for _ in names).join("[]")
    return HanlinError(
        f"mix.{option} has {said}, but the {len(names)} sources are {', '.join(names)[:160]}.",
        "one number for each source, in their order or by their names",
        f"mix.{option}='{example}'",
        "src/hanlin/make/collect/README.md",
    )


def nothing_to_sort_by(row_id: str) -> HanlinError:
    return HanlinError(
        f"mix.order=easy_first, but {row_id} has no bits per character.",
        "the step perplexity, which measures them",
        "add perplexity to steps, and model=… to measure with",
        "src/hanlin/make/collect/README.md",
    )
