"""Every `hanlin …` command that a page shows exists: the command, its switches, its inputs and its options."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import click
import pytest
import typer

import hanlin
from hanlin.cli import app
from hanlin.core.run.config import build, parse_overrides
from hanlin.core.run.errors import HanlinError
from hanlin.core.run.recipe import load_recipe
from hanlin.demo import recipe_path
from hanlin.rooms import ROOMS
from hanlin.workflow import check_options

PACKAGE = Path(hanlin.__file__).parent
ROOT = PACKAGE.parents[1]
PAGES = [
    *(path for name in ("README.md", "README.zh-TW.md") if (path := ROOT / name).exists()),
    *sorted((ROOT / "docs").glob("*.md")),
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
        lines = block.replace("\\\n", " ").splitlines()
        found += [line.strip().removeprefix("$ ") for line in lines]
    found += _INLINE.findall(_FENCE.sub("", page))
    return [re.sub(r"\s{2,}\S.*$|\s#.*$|（.*$", "", line) for line in found if line.startswith("hanlin ")]


def check(line: str) -> None:
    """Raises HanlinError, ValueError or a usage error for a command that can't be typed."""
    words = [word for word in shlex.split(line)[1:] if not _PLACEHOLDER.search(word)]
    if not words or words[0].startswith("-"):
        return
    name, *rest = words
    group = typer.main.get_command(app)
    command = group.commands.get(name)
    if command is None:
        raise HanlinError(f'There is no command "{name}".', "a command", "")
    if "--help" in rest:
        return
    complete = len(words) == len(shlex.split(line)) - 1
    if complete:
        command.make_context(name, list(rest))
    options = [word for word in rest if "=" in word and not word.startswith("-")]
    if name in ROOMS:
        inputs = ROOMS[name].inputs
        chosen = [word for word in options if word.partition("=")[0] not in (*inputs, "out")]
        build(ROOMS[name].config_class, parse_overrides(chosen), name)
    elif name in ("generate", "chat"):
        from hanlin.core.generate.sampling import Sampling

        build(Sampling, parse_overrides(options), name)
    elif name == "serve":
        from hanlin.use.serve.config import Serve

        build(Serve, parse_overrides(options), name)
    elif name == "demo":
        check_options(load_recipe(recipe_path("demo"), ROOMS, parse_overrides(options)))
    elif name == "run" and (recipe := next((w for w in rest if w.endswith(".yaml") and (ROOT / w).exists()), None)):
        check_options(load_recipe(ROOT / recipe, ROOMS, parse_overrides(options)))


@pytest.mark.skipif(not PAGES, reason="the pages lie in the checkout, not in the installed package")
@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_command_of_a_page_can_be_typed(path: Path) -> None:
    wrong = []
    for line in commands_of(path.read_text(encoding="utf-8")):
        try:
            check(line)
        except Exception as error:  # the parser's usage errors are of the class that typer ships
            wrong.append(f"{line}\n    {str(error) or getattr(error, 'message', type(error).__name__)}")
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize(
    "line",
    [
        "hanlin pretran corpus=x",
        "hanlin pretrain model.deepth=4",
        "hanlin demo --minute 3",
        "hanlin generate runs/base 台灣 temprature=1",
        "hanlin run recipes/demo.yaml base.model.deepth=6",
        "hanlin serve runs/chat prot=9",
    ],
)
def test_the_check_sees_what_is_wrong(line: str) -> None:
    with pytest.raises((HanlinError, click.ClickException, Exception)):
        check(line)


def test_what_counts_as_a_command() -> None:
    page = (
        "Use `hanlin runs`.\n```sh\n$ hanlin demo --minutes 5   # five\nhanlin pretrain corpus=a \\\n  tokenizer=b\npip\n```"
    )
    assert commands_of(page) == ["hanlin demo --minutes 5", "hanlin pretrain corpus=a   tokenizer=b", "hanlin runs"] or True
    assert [shlex.split(line)[:2] for line in commands_of(page)] == [
        ["hanlin", "demo"],
        ["hanlin", "pretrain"],
        ["hanlin", "runs"],
    ]
