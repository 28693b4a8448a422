"""Options: frozen pydantic models, `a.b=value` overrides, and answers that say "did you mean"."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar, get_args

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from hanlin.core.run.errors import HanlinError, did_you_mean


class Config(BaseModel):
    """Base of every room's options. Unknown names are refused; values never change after they are read."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)

    def identity(self) -> dict[str, Any]:
        """The options that decide the result. Those that only say who does the work are left out: their fields have
        json_schema_extra={"identity": False}."""
        values = self.model_dump(mode="json")
        for name, field in type(self).model_fields.items():
            if isinstance(field.json_schema_extra, dict) and field.json_schema_extra.get("identity") is False:
                del values[name]
        return values


ConfigType = TypeVar("ConfigType", bound=Config)


def parse_overrides(words: Iterable[str]) -> dict[str, Any]:
    """`["model.depth=6", "train.minutes=5"]` → `{"model": {"depth": 6}, "train": {"minutes": 5}}`. Values are YAML."""
    values: dict[str, Any] = {}
    for word in words:
        name, equals, text = word.partition("=")
        if not equals or not name:
            raise HanlinError(
                f'"{word}" is not an option.',
                "name=value, for example train.minutes=5",
                f"{word}=…  (or remove it)",
                "hanlin ROOM --help lists every option",
            )
        try:
            value = yaml.safe_load(text) if text else ""
        except yaml.YAMLError:
            value = text
        put(values, name, value)
    return values


def put(values: dict[str, Any], dotted: str, value: Any) -> None:
    """Set `values["a"]["b"]` from the name `a.b`, making the folders on the way."""
    *folders, last = dotted.split(".")
    for folder in folders:
        below = values.setdefault(folder, {})
        if not isinstance(below, dict):
            raise HanlinError(
                f'Option "{dotted}": "{folder}" already has the value {below!r}.',
                f"either {folder}=… or {dotted}=…, not both",
                "remove one of the two",
            )
        values = below
    if isinstance(value, dict) and isinstance(values.get(last), dict):
        for key, inner in value.items():
            put(values[last], key, inner)
    else:
        values[last] = value


def build(config_class: type[ConfigType], values: Mapping[str, Any], room: str) -> ConfigType:
    """Check `values` against the room's options. Raises HanlinError naming the first wrong option."""
    try:
        return config_class.model_validate(dict(values))
    except ValidationError as error:
        raise _explain(config_class, error, room) from None


def _explain(config_class: type[BaseModel], error: ValidationError, room: str) -> HanlinError:
    first = error.errors()[0]
    path = [str(part) for part in first["loc"]]
    dotted = ".".join(path)
    if first["type"] == "extra_forbidden":
        word, known = dotted, option_names(config_class)
        if any(part.isdigit() for part in path):  # in an item of a list: steps.0.near.treshold
            word = path[-1]
            known = [name for found in _classes_at(config_class, path[:-1]) for name in option_names(found)]
        return HanlinError(
            f'{room} has no option "{dotted}".',
            did_you_mean(word, known),
            f"hanlin {room} --help",
            f"src/hanlin: {config_class.__module__.removeprefix('hanlin.').replace('.', '/')}.py",
        )
    message = first["msg"].removeprefix("Value error, ")
    given = (
        "" if first["type"] == "missing" else f" (given: {json.dumps(first['input'], ensure_ascii=False, default=str)})"
    )
    return HanlinError(
        f'Option "{dotted}" of {room}: {message}{given}.', message, f"hanlin {room} --help", "docs/recipes.md"
    )


def _classes_at(config_class: type[BaseModel], path: list[str]) -> list[type[BaseModel]]:
    """The options that `path` leads to, through lists and unions: steps.0.near."""
    found = [config_class]
    for part in path:
        if inside := [one.model_fields[part].annotation for one in found if part in one.model_fields]:
            found = [inner for annotation in inside for inner in _classes_in(annotation)]
        elif not part.isdigit():  # which of a union
            found = [one for one in found if any(part == field.default for field in one.model_fields.values())] or found
    return found


def _classes_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [inner for part in get_args(annotation) for inner in _classes_in(part)]


def option_names(config_class: type[BaseModel], prefix: str = "") -> list[str]:
    """All dotted option names of a room, in order."""
    names = []
    for name, field in config_class.model_fields.items():
        names.append(prefix + name)
        inner = field.annotation
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            names += option_names(inner, f"{prefix}{name}.")
    return names


def option_table(config_class: type[BaseModel], prefix: str = "") -> list[tuple[str, str, str]]:
    """(dotted name, default, description) of every leaf option: the source of `--help` and the reference page."""
    rows = []
    for name, field in config_class.model_fields.items():
        inner = field.annotation
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            rows += option_table(inner, f"{prefix}{name}.")
        else:
            default = (
                "required"
                if field.is_required()
                else json.dumps(field.get_default(call_default_factory=True), ensure_ascii=False, default=str)
            )
            rows.append((prefix + name, default, field.description or ""))
    return rows
