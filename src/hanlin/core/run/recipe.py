"""Recipes: a DAG of rooms in YAML. Each step names its room, its inputs (other steps, paths or sources) and its
options.

out: runs/demo
steps:
  corpus:    {room: collect, sources: ["my_folder/"]}
  tokenizer: {room: tokenize, corpus: corpus, vocab_size: 8192}
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from hanlin.core.run.config import put
from hanlin.core.run.errors import HanlinError, did_you_mean
from hanlin.core.run.execute import Room


@dataclass(frozen=True)
class Step:
    """One room to run: `values` mixes inputs and options, as on the command line; `needs` are the steps it reads."""

    name: str
    room: Room
    values: dict[str, Any]
    needs: tuple[str, ...]


@dataclass(frozen=True)
class Recipe:
    path: Path
    out: Path
    steps: tuple[Step, ...]
    """In an order in which every step comes after what it needs."""


def load_recipe(path: Path, rooms: Mapping[str, Room], overrides: Mapping[str, Any] | None = None) -> Recipe:
    """Read and check a recipe. `overrides` are `{step: {option: value}}` and may set `out`. Raises HanlinError with
    the file's name."""
    try:
        body = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise HanlinError(
            f"{path} does not exist.", "a recipe, a .yaml file", "ls recipes/", "docs/recipes.md"
        ) from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f"{path}:{mark.line + 1}" if mark else str(path)
        raise HanlinError(
            f"{place} is not readable YAML: {getattr(error, 'problem', error)}.",
            "YAML",
            "correct the line",
            "docs/recipes.md",
        ) from None
    if not isinstance(body, dict) or not isinstance(body.get("steps"), dict) or not body["steps"]:
        raise HanlinError(
            f"{path} has no steps.",
            "out: and steps:, as in recipes/demo.yaml",
            "copy recipes/demo.yaml and change it",
            "docs/recipes.md",
        )
    for key in body:
        if key not in ("out", "steps", "about"):
            raise HanlinError(
                f'{path}: unknown key "{key}".',
                did_you_mean(key, ("out", "steps", "about")),
                "rename or remove it",
                "docs/recipes.md",
            )
    overrides = dict(overrides or {})
    out = Path(overrides.pop("out", None) or body.get("out") or f"runs/{path.stem}")
    _apply(body["steps"], overrides, path)
    steps = {name: _step(name, values, body["steps"], rooms, path) for name, values in body["steps"].items()}
    return Recipe(path, out, tuple(_in_order(steps, path)))


def _apply(steps: dict[str, Any], overrides: Mapping[str, Any], path: Path) -> None:
    for name, values in overrides.items():
        if name not in steps:
            raise HanlinError(
                f'{path} has no step "{name}".',
                did_you_mean(name, steps),
                f"hanlin run {path} STEP.option=value",
                "docs/recipes.md",
            )
        if not isinstance(values, dict):
            raise HanlinError(
                f'"{name}={values}" sets a whole step.',
                f"{name}.option=value",
                f"hanlin run {path} {name}.…=…",
                "docs/recipes.md",
            )
        for option, value in values.items() if isinstance(steps[name], dict) else ():
            put(steps[name], option, value)


def _step(name: str, values: Any, steps: Mapping[str, Any], rooms: Mapping[str, Room], path: Path) -> Step:
    if not isinstance(values, dict) or "room" not in values:
        raise HanlinError(
            f'{path}: step "{name}" names no room.', f"room: {' | '.join(rooms)}", "add the line", "docs/recipes.md"
        )
    values = dict(values)
    room_name = values.pop("room")
    if room_name not in rooms:
        raise HanlinError(
            f'{path}: step "{name}": there is no room "{room_name}".',
            did_you_mean(str(room_name), rooms),
            "correct the name",
            "docs/recipes.md",
        )
    room = rooms[room_name]
    named = [value for key in room.inputs for value in _listed(values.get(key))]
    return Step(name, room, values, tuple(value for value in named if value in steps))


def _listed(value: Any) -> list[str]:
    return [item for item in (value if isinstance(value, list) else [value]) if isinstance(item, str)]


def _in_order(steps: Mapping[str, Step], path: Path) -> list[Step]:
    """Depth-first, in the file's order. Raises HanlinError naming the steps of a circle."""
    done: dict[str, Step] = {}

    def visit(name: str, trail: tuple[str, ...]) -> None:
        if name in trail:
            circle = " → ".join([*trail[trail.index(name) :], name])
            raise HanlinError(
                f"{path}: the steps go in a circle: {circle}.",
                "steps that only read earlier ones",
                "break the circle",
                "docs/recipes.md",
            )
        if name not in done:
            for need in steps[name].needs:
                visit(need, (*trail, name))
            done[name] = steps[name]

    for name in steps:
        visit(name, ())
    return list(done.values())
