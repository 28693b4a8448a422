"""Every `hanlin …` command that a page shows exists: the command, its switches, its inputs and its options."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import typer

import hanlin
from hanlin.cli import app
from hanlin.core.connect import Connection, is_remote
from hanlin.core.connect.budget import Limits
from hanlin.core.connect.settings import Settings
from hanlin.core.run.config import build, parse_overrides
from hanlin.core.run.errors import HanlinError
from hanlin.core.run.recipe import load_recipe
from hanlin.demo import recipe_path
from hanlin.rooms import ROOMS
from hanlin.workflow import check_options

PACKAGE = Path(hanlin.__file__).parent
ROOT = PACKAGE.parents[1]
# The log tells what was true on its day.
PAGES = [
    *(path for name in ("README.md", "README.zh-TW.md") if (path := ROOT / name).exists()),
    *sorted(path for path in (ROOT / "docs").glob("*.md") if path.name != "log.md"),
    *sorted(PACKAGE.rglob("README.md")),
]

_FENCE = re.compile(r"^```[a-z]*\n(.*?)^```", re.MULTILINE | re.DOTALL)
_INLINE = re.compile(r"`(hanlin [^`\n]+)`")
_PLACEHOLDER = re.compile(r"…|\.\.\.|[A-Z]{3,}|<\w+>|\[")
"""What a reader fills in: it can't be checked, and neither can the word around it."""


def commands_of(page: str) -> list[str]:
    """Lines that begin with hanlin in fenced blocks (a continued line joined), and `hanlin …` in running text."""
    found = []
    for block in _FENCE.findall(page):
        lines = re.sub(r"\s*\\\n\s*", " ", block).splitlines()
        found += [line.strip().removeprefix("$ ") for line in lines]
    found += _INLINE.findall(_FENCE.sub("", page))
    return [re.sub(r"\s{2,}\S.*$|\s#.*$|（.*$", "", line) for line in found if line.startswith("hanlin ")]


def check(line: str) -> None:
    """Raises HanlinError for a command that can't be typed. One word alone is a name, not a command to type."""
    typed = shlex.split(line)[1:]
    words = [word for word in typed if not _PLACEHOLDER.search(word)]
    if not words or words[0].startswith("-"):
        return
    name, *rest = words
    command = typer.main.get_command(app).commands.get(name)
    if command is None:
        raise HanlinError(f'There is no command "{name}".', "a command", "hanlin --help")
    if not rest or "--help" in rest:
        return
    if words == typed:
        _parse(command, name, rest)
    options = [word for word in rest if "=" in word and not word.startswith("-")]
    if name in ROOMS:
        inputs = ROOMS[name].inputs
        chosen = [word for word in options if word.partition("=")[0] not in (*inputs, "out")]
        build(ROOMS[name].config_class, parse_overrides(chosen), name)
    elif name == "generate" and is_remote(rest[0]):
        _check_remote(name, parse_overrides(options))
    elif name in ("generate", "chat") or (name == "show" and rest[0] in ("sampling", "speculate", "cache")):
        _check_writing(name, parse_overrides(options))
    elif name == "serve":
        from hanlin.use.serve.config import Serve

        build(Serve, parse_overrides(options), name)
    elif name == "demo":
        check_options(load_recipe(recipe_path("demo"), ROOMS, parse_overrides(options)))
    elif name == "run" and (recipe := next((w for w in rest if w.endswith(".yaml") and (ROOT / w).exists()), None)):
        check_options(load_recipe(ROOT / recipe, ROOMS, parse_overrides(options)))


def _check_remote(name: str, values: dict[str, Any]) -> None:
    build(Limits, values.pop("budget", {}), name)
    build(Connection, {own: values.pop(own) for own in Connection.model_fields if own in values}, name)
    build(Settings, values, name)


def _check_writing(name: str, values: dict[str, Any]) -> None:
    from hanlin.conversation.options import Chat
    from hanlin.core.generate.options import EngineOptions
    from hanlin.core.generate.sampling import Sampling
    from hanlin.core.generate.search import Search

    if name == "chat":
        build(Chat, {own: values.pop(own) for own in Chat.model_fields if own in values}, name)
    build(EngineOptions, values.pop("engine", {}), name)
    searching = values.pop("search", None) if name == "generate" else None
    if searching is None:
        build(Sampling, values, name)
    else:
        build(Search, {**searching, **values}, name)


def _parse(command: Any, name: str, words: list[str]) -> None:
    try:
        command.make_context(name, list(words))
    except Exception as error:  # the parser's own class, which typer brings along
        raise HanlinError(f"{name}: {error}", "what its --help shows", f"hanlin {name} --help") from None


@pytest.mark.skipif(not PAGES, reason="the pages lie in the checkout, not in the installed package")
@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_command_of_a_page_can_be_typed(path: Path) -> None:
    wrong = []
    for line in commands_of(path.read_text(encoding="utf-8")):
        try:
            check(line)
        except HanlinError as error:
            wrong.append(f"{line}\n    {error.what}")
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize(
    "line",
    [
        "hanlin pretran corpus=x",
        "hanlin pretrain model.deepth=4",
        "hanlin demo --minute 3",
        "hanlin generate runs/base 台灣 temprature=1",
        "hanlin generate openai:gpt 台灣 budget.token=9",
        "hanlin show speculate runs/base 台灣 engine.drafts=runs/draft",
        "hanlin show sampling runs/base 台灣 top_q=1",
        "hanlin run recipes/demo.yaml base.model.deepth=6",
        "hanlin serve runs/chat prot=9",
    ],
)
def test_the_check_sees_what_is_wrong(line: str) -> None:
    with pytest.raises(HanlinError):
        check(line)


def test_what_counts_as_a_command() -> None:
    page = "Use `hanlin runs`.\n```sh\n$ hanlin demo --minutes 5   # five\nhanlin pretrain a=1 \\\n  b=2\npip\n```"
    found = [shlex.split(line) for line in commands_of(page)]
    assert found == [["hanlin", "demo", "--minutes", "5"], ["hanlin", "pretrain", "a=1", "b=2"], ["hanlin", "runs"]]
