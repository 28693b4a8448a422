"""Shells' own logic, shared by the CLI and the Python API: turn words into inputs, run one room, run a recipe."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hanlin.core.run.artifact import Artifact, hash_file, is_artifact, open_artifact
from hanlin.core.run.config import build, option_names
from hanlin.core.run.errors import HanlinError, Interrupted, did_you_mean
from hanlin.core.run.events import Listener
from hanlin.core.run.execute import Room, execute
from hanlin.core.run.recipe import Recipe, load_recipe
from hanlin.core.run.sources import fetch
from hanlin.rooms import ROOMS


def make(
    room_name: str, values: Mapping[str, Any], out: Path | None = None, listeners: tuple[Listener, ...] = ()
) -> Artifact:
    """Run one room. `values` mixes inputs (paths, addresses) and options, as on the command line."""
    if room_name not in ROOMS:
        raise HanlinError(
            f'There is no room "{room_name}".', did_you_mean(room_name, ROOMS), "hanlin --help", "README.md"
        )
    room = ROOMS[room_name]
    values = dict(values)
    place = Path(values.pop("out", None) or out or f"runs/{room_name}")
    return run_room(room, values, place, {}, listeners, replace=False)


def run_recipe(
    path: Path, overrides: Mapping[str, Any] | None = None, listeners: tuple[Listener, ...] = ()
) -> dict[str, Artifact]:
    """Run a recipe's steps in order; finished ones are recognised by id. Returns the artifact of each step."""
    recipe = load_recipe(path, ROOMS, overrides)
    made: dict[str, Artifact] = {}
    check_options(recipe)
    for name, program in recipe.left_out:
        _announce(listeners)("note", text=f"The step {name} is left out: it needs {program}, which is not installed.")
    for number, step in enumerate(recipe.steps, start=1):
        for listener in listeners:
            listener(
                {
                    "event": "recipe",
                    "step": step.name,
                    "room": step.room.name,
                    "number": number,
                    "of": len(recipe.steps),
                }
            )
        made[step.name] = run_room(step.room, step.values, recipe.out / step.name, made, listeners, replace=True)
    return made


def check_options(recipe: Recipe) -> None:
    """A misspelt option of the last step is said before the first one runs."""
    for step in recipe.steps:
        build(step.room.config_class, split_values(step.room, step.values)[1], step.room.name)


def run_room(
    room: Room,
    values: Mapping[str, Any],
    out: Path,
    made: Mapping[str, Artifact],
    listeners: tuple[Listener, ...],
    replace: bool,
) -> Artifact:
    """made: artifacts that `values` call by a step's name. replace: see `execute`."""
    named, options = split_values(room, values)
    config = build(room.config_class, options, room.name)
    try:
        inputs = open_inputs(room, named, out, made, listeners)
        return execute(room, config, inputs, out, listeners, replace)
    except KeyboardInterrupt:  # while inputs are fetched and checked, or the result is sealed
        raise Interrupted(f"What {room.name} has finished is kept.") from None


def split_values(room: Room, values: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """(inputs, options) of a room's values. Raises HanlinError for a missing input, or a name that is neither."""
    named = {key: value for key, value in values.items() if key in room.inputs}
    options = {key: value for key, value in values.items() if key not in room.inputs}
    for key in options:
        known = [*room.inputs, *option_names(room.config_class)]
        if key not in room.config_class.model_fields:
            raise HanlinError(
                f'{room.name} has no option "{key}".',
                did_you_mean(key, known),
                f"hanlin {room.name} --help",
                f"src/{room.module.replace('.', '/')}/README.md",
            )
    for name in room.inputs:
        if named.get(name) in (None, "", []) and name not in room.optional:
            raise HanlinError(
                f"{room.name} needs {name}=…",
                f"a {' or '.join(room.inputs[name])}",
                f"hanlin {room.name} {name}=…",
                f"src/{room.module.replace('.', '/')}/README.md",
            )
    return named, options


def open_inputs(
    room: Room, named: Mapping[str, Any], out: Path, made: Mapping[str, Artifact], listeners: tuple[Listener, ...]
) -> dict[str, Artifact]:
    """What the inputs `named` mean: steps already `made`, artifacts, models, sources; raw data is collected beside
    `out`."""
    inputs: dict[str, Artifact] = {}
    for name, kinds in room.inputs.items():
        if named.get(name) in (None, "", []):
            continue
        if "source" in kinds:
            addresses = named[name] if isinstance(named[name], list) else [named[name]]
            for place, address in enumerate(map(str, addresses)):
                inputs[f"{name}.{place}"] = _open_source(address, kinds, made, listeners)
        else:
            text = str(named[name])
            step = made.get(text)
            inputs[name] = (
                open_artifact(step.path, kinds, verify=False)
                if step is not None
                else _open_one(text, kinds, out, name, listeners)
            )
    return inputs


def _open_source(
    address: str, kinds: tuple[str, ...], made: Mapping[str, Artifact], listeners: tuple[Listener, ...]
) -> Artifact:
    """Raw data by its address; a step's or another run's artifact where such may be read too."""
    if address in made:
        return open_artifact(made[address].path, kinds, verify=False)
    if len(kinds) > 1 and is_artifact(Path(address)):
        return open_artifact(Path(address), kinds)
    return fetch(address, _announce(listeners))


def _model_from_elsewhere(text: str, kinds: tuple[str, ...], listeners: tuple[Listener, ...]) -> Artifact | None:
    """A model or an adapter no room has made, known by its files' hashes; None for what is neither."""
    path, licence, address = Path(text), "", f"file:{text}"
    if ":" in text and not path.exists():
        source = fetch(text, _announce(listeners))
        path, licence, address = source.path, source.licence, source.address
    if "model" in kinds and path.is_file() and path.suffix == ".gguf":
        return Artifact(path, "model", hash_file(path)[:24], address=address, licence=licence)
    is_model = "model" in kinds and ((path / "config.json").exists() or any(path.glob("*.gguf")))
    if is_model or ("adapter" in kinds and (path / "adapter_config.json").exists()):
        hashes = "".join(hash_file(p) for p in sorted(path.glob("*")) if p.is_file())
        identity = hashlib.sha256(hashes.encode()).hexdigest()[:24]
        kind = "model" if is_model else "adapter"
        return Artifact(path, kind, identity, address=address, licence=licence)
    return None


def _announce(listeners: tuple[Listener, ...]):
    def emit(kind: str, **fields: Any) -> None:
        for listener in listeners:
            listener({"event": kind, **fields})

    return emit


def _open_one(text: str, kinds: tuple[str, ...], out: Path, name: str, listeners: tuple[Listener, ...]) -> Artifact:
    """An artifact; a Hugging Face folder, a .gguf file, a PEFT folder or an address where a model or an adapter is
    wanted; or raw data where a corpus is wanted, collected first, into `OUT-NAME` beside the step's own folder; what
    stood there of other data moves to its history."""
    path = Path(text)
    if is_artifact(path):
        return open_artifact(path, kinds)
    if {"model", "adapter"} & set(kinds) and (model := _model_from_elsewhere(text, kinds, listeners)) is not None:
        return model
    if "corpus" in kinds and (path.exists() or ":" in text) and not path.with_name(path.name + ".partial").exists():
        beside = out.with_name(f"{out.name}-{name}")
        return run_room(ROOMS["collect"], {"sources": [text]}, beside, {}, listeners, replace=True)
    return open_artifact(path, kinds)
