"""Every room has the same furniture, no drawer is called miscellaneous, and every recipe can run."""

from __future__ import annotations

import ast
import importlib
import inspect
import re
from pathlib import Path

import pytest
from pydantic import BaseModel

import hanlin
from hanlin.core.run.config import Config, build
from hanlin.core.run.execute import Room
from hanlin.core.run.recipe import load_recipe
from hanlin.rooms import ROOMS
from hanlin.workflow import check_options

PACKAGE = Path(hanlin.__file__).parent
ROOT = PACKAGE.parents[1]
ACTS = ("make", "shape", "trust", "use")
FOLDERS = sorted(path.parent for act in ACTS for path in (PACKAGE / act).glob("*/__init__.py"))
VAGUE = {"utils", "util", "common", "helpers", "helper", "misc"}
MAX_LINES = 400

rooms = pytest.mark.parametrize("room", ROOMS.values(), ids=list(ROOMS))
folders = pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: str(folder.relative_to(PACKAGE)))


def models_of(config: type[BaseModel]) -> list[type[BaseModel]]:
    """A config model and those inside it."""
    inner = [field.annotation for field in config.model_fields.values()]
    found = [kind for kind in inner if isinstance(kind, type) and issubclass(kind, BaseModel)]
    return [config, *(model for kind in found for model in models_of(kind))]


def config_of(folder: Path) -> type[Config]:
    module = ".".join(("hanlin", *folder.relative_to(PACKAGE).parts, "config"))
    return getattr(importlib.import_module(module), folder.name.title())


@folders
def test_a_room_has_its_page(folder: Path) -> None:
    page = folder / "README.md"
    assert page.is_file(), f"{page} is missing"
    assert len(page.read_text(encoding="utf-8")) > 300


@folders
def test_options_are_frozen_closed_and_described(folder: Path) -> None:
    for model in models_of(config_of(folder)):
        assert issubclass(model, Config), model
        assert model.model_config.get("frozen") and model.model_config.get("extra") == "forbid", model
        for name, field in model.model_fields.items():
            assert field.description, f"{model.__module__}.{model.__name__}.{name} has no description"


@rooms
def test_a_room_runs_by_the_contract(room: Room) -> None:
    work = room.work
    assert inspect.isfunction(work) and not inspect.isgeneratorfunction(work)
    assert list(inspect.signature(work).parameters) == ["config", "inputs", "out", "emit"]
    assert room.config_class is config_of(PACKAGE.joinpath(*room.module.split(".")[1:]))
    assert room.optional <= set(room.inputs) and not set(room.inputs) & set(room.config_class.model_fields)


@rooms
def test_a_room_needs_no_options(room: Room) -> None:
    build(room.config_class, {}, room.name)


def test_the_table_and_the_folders_agree() -> None:
    """Serving is a shell's own loop, not a step with an artifact; every other folder is a room of the table."""
    tabled = {PACKAGE.joinpath(*room.module.split(".")[1:]) for room in ROOMS.values()}
    assert tabled | {PACKAGE / "use" / "serve"} == set(FOLDERS)


def test_nothing_has_a_vague_name() -> None:
    named = [path for path in PACKAGE.rglob("*") if path.stem.lower() in VAGUE]
    assert not named


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_file_tells_one_story(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= MAX_LINES
    if path.name != "__init__.py":
        assert ast.get_docstring(ast.parse(text)), f"{path} does not say what it is"


def test_no_pickle_and_no_remote_code() -> None:
    """Untrusted input stays data: nothing in the package unpickles, evaluates or trusts a repository's code."""
    banned = re.compile(r"\bimport pickle|torch\.load\(|trust_remote_code|(?<![.\w])(eval|exec)\(")
    for path in PACKAGE.rglob("*.py"):
        found = banned.search(path.read_text(encoding="utf-8"))
        assert not found, f"{path}: {found and found[0]}"


RECIPES = sorted((ROOT / "recipes").glob("*.yaml"))


@pytest.mark.skipif(not RECIPES, reason="the recipes lie in the checkout, not in the installed package")
@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_every_recipe_parses_and_its_options_exist(path: Path) -> None:
    check_options(load_recipe(path, ROOMS))
