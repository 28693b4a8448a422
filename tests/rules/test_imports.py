"""Imports go left: core < make < shape < trust < use < web; inside core run < text < connect < model < train < …; no
room imports another of its act. The order of folders is the architecture, and this test is what keeps it true."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import hanlin

PACKAGE = Path(hanlin.__file__).parent
ACTS = ("core", "make", "shape", "trust", "use", "web")
CORE = ("run", "text", "connect", "model", "train", "generate", "tasks", "probe")
FILES = sorted(PACKAGE.rglob("*.py"))
SHELLS = {"report", "checks", "conversation", "rehearsal", "shows"}


def module_of(path: Path) -> tuple[str, ...]:
    """("make", "tokenize", "run") of src/hanlin/make/tokenize/run.py."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return parts[:-1] if parts[-1] == "__init__" else parts


def imports_of(path: Path) -> Iterator[tuple[int, tuple[str, ...]]]:
    """(line, module inside hanlin) of every import, those inside functions and TYPE_CHECKING blocks too."""
    here = module_of(path) if path.name == "__init__.py" else module_of(path)[:-1]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(("hanlin", *here[: len(here) - node.level + 1])) if node.level else ""
            module = ".".join(filter(None, (base, node.module)))
            names = [f"{module}.{alias.name}" for alias in node.names]
        else:
            continue
        yield from ((node.lineno, tuple(name.split(".")[1:])) for name in names if name.split(".")[0] == "hanlin")


def wrong(importer: tuple[str, ...], imported: tuple[str, ...]) -> str:
    """Why `importer` may not import this; "" if it may. What is in no act is a shell, which may import anything."""
    if not importer or importer[0] not in ACTS:
        return ""
    if not imported or imported[0] not in ACTS:
        known_table = imported[:1] == ("rooms",) and importer[0] == "web"
        return "" if known_table else "acts never import shells"
    if ACTS.index(imported[0]) > ACTS.index(importer[0]):
        return f"{imported[0]} stands right of {importer[0]}"
    if imported[0] != importer[0] or len(imported) < 2 or len(importer) < 2 or imported[1] == importer[1]:
        return ""
    if importer[0] != "core":
        return "rooms of one act never import each other"
    return f"{imported[1]} stands right of {importer[1]}" if CORE.index(imported[1]) > CORE.index(importer[1]) else ""


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_go_left(path: Path) -> None:
    found = [
        f"{path}:{line} imports hanlin.{'.'.join(name)}: {reason}"
        for line, name in imports_of(path)
        if (reason := wrong(module_of(path), name))
    ]
    assert not found, "\n".join(found)


def test_every_folder_is_in_the_plan() -> None:
    folders = {path.name for path in PACKAGE.iterdir() if path.is_dir() and path.name != "__pycache__"}
    assert {name for name in folders if (PACKAGE / name / "__init__.py").exists()} - SHELLS <= set(ACTS)
    core = {path.parent.name for path in (PACKAGE / "core").glob("*/__init__.py")}
    assert core <= set(CORE)


@pytest.mark.parametrize(
    ("importer", "imported", "allowed"),
    [
        ("core.run.config", "core.run.errors", True),
        ("core.model.decoder", "core.text.chat", True),
        ("core.text.chat", "core.model.decoder", False),
        ("core.connect.remote", "core.text.messages", True),
        ("core.connect.remote", "core.generate.sampling", False),
        ("core.generate.stream", "core.train.fit", True),
        ("make.tokenize.run", "make.collect.intake", False),
        ("make.tokenize.run", "make.tokenize.bpe", True),
        ("shape.finetune.run", "make.tokenize.bpe", True),
        ("make.tokenize.bpe", "shape.finetune.run", False),
        ("core.run.execute", "make.collect.run", False),
        ("make.collect.run", "workflow", False),
        ("cli", "use.serve.run", True),
        ("workflow", "rooms", True),
    ],
)
def test_the_rule_itself(importer: str, imported: str, allowed: bool) -> None:
    assert (wrong(tuple(importer.split(".")), tuple(imported.split("."))) == "") == allowed


def test_imports_inside_functions_and_relative_ones_are_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    room = tmp_path / "make" / "tokenize"
    room.mkdir(parents=True)
    (room / "run.py").write_text("def f():\n    from ..collect import clean\n    import hanlin.core.run.errors\n")
    monkeypatch.setitem(globals(), "PACKAGE", tmp_path)
    assert list(imports_of(room / "run.py")) == [(2, ("make", "collect", "clean")), (3, ("core", "run", "errors"))]
