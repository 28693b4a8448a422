"""Promises of the texts: what a message points to exists, every room has its page, and our own words are Taiwan's."""

from __future__ import annotations

import ast
import importlib.util
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from hanlin.rooms import ROOMS

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src" / "hanlin"

MAINLAND = {
    "數據": "資料",
    "信息": "資訊",
    "默認": "預設",
    "用戶": "使用者",
    "視頻": "影片",
    "內存": "記憶體",
    "質量": "品質",
    "程序": "程式",
    "優化": "最佳化",
    "軟件": "軟體",
}
"""Wording of the mainland → Taiwan's. 程序 (procedure) and 質量 (mass) exist in Taiwan, but not in what we write."""

QUOTED_FOLDERS = {"core/text", "make/collect"}
"""Code that knows both wordings in order to tell them apart."""

TARGET = re.compile(r"(?<![\w/.-])(?:(?:docs|src/hanlin)/[\w./-]+\.(?:md|py)(?:#[\w-]+)?|README(?:\.zh-TW)?\.md)")
LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)")


def python_files() -> list[Path]:
    return sorted(SOURCE.rglob("*.py"))


def strings(path: Path) -> Iterator[str]:
    """Every string constant of a module."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    yield from (node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str))


def targets_in_code() -> set[str]:
    return {target for path in python_files() for text in strings(path) for target in TARGET.findall(text)}


def own_texts() -> list[Path]:
    """Files that hold our own words: pages, READMEs, recipes, web pages. Not tests, not other people's text."""
    patterns = (
        "*.md",
        "docs/**/*.md",
        "docs/**/*.svg",
        "recipes/*.yaml",
        "src/**/*.md",
        "src/**/*.html",
        "src/**/*.js",
    )
    return sorted(path for pattern in patterns for path in ROOT.glob(pattern))


def anchors(page: Path) -> set[str]:
    """GitHub's: the heading in small letters, without punctuation, blanks as hyphens."""
    headings = re.findall(r"^#+ +(.+)$", page.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


def missing(target: str, base: Path = ROOT) -> str:
    """Why a target can't be followed; "" when it can."""
    name, _, anchor = target.partition("#")
    page = (base / name).resolve()
    if not page.exists():
        return f"{target}: no such file"
    return f"{target}: no such heading" if anchor and anchor not in anchors(page) else ""


def test_every_page_a_message_points_to_exists():
    found = targets_in_code()
    assert {"docs/runs.md#interrupted", "docs/sources.md#pins"} <= found, "the search itself works"
    assert not sorted(filter(None, map(missing, found)))


@pytest.mark.parametrize("page", [p for p in own_texts() if p.suffix == ".md"], ids=lambda p: str(p.relative_to(ROOT)))
def test_links_between_pages_lead_somewhere(page: Path):
    targets = [link for link in LINK.findall(page.read_text(encoding="utf-8")) if "://" not in link]
    inside = [f"{page.name}{link}" if link.startswith("#") else link for link in targets]
    assert not [problem for link in inside if (problem := missing(link, page.parent))]


@pytest.mark.parametrize("name", ROOMS)
def test_room_has_its_furniture(name: str):
    folder = ROOT / "src" / ROOMS[name].module.replace(".", "/")
    assert not [file for file in ("README.md", "config.py", "run.py") if not (folder / file).is_file()]
    page = (folder / "README.md").read_text(encoding="utf-8")
    assert page.startswith(f"# {name}:")
    assert f"hanlin {name} " in page, "a command to copy"
    assert "**In" in page and "**Out" in page


@pytest.mark.parametrize("name", ROOMS)
def test_options_a_page_names_exist(name: str):
    """The first column of an option table, and name=value in the room's own commands."""
    from hanlin.core.run.config import option_names

    room = ROOMS[name]
    page = (ROOT / "src" / room.module.replace(".", "/") / "README.md").read_text(encoding="utf-8")
    known = {*option_names(room.config_class), *room.inputs, "out"}
    table = page.partition("| option |")[2].partition("\n\n")[0]
    named = {
        word for cell in re.findall(r"^\| (`[^|]+) \|", table, re.MULTILINE) for word in re.findall(r"`([\w.]+)`", cell)
    }
    for command in re.findall(rf"^hanlin {name} (.+)$", page, re.MULTILINE):
        named |= set(re.findall(r"(?:^|[ '])([a-z][\w.]*)=", command.partition("#")[0]))
    assert not named - known


@pytest.mark.parametrize("path", own_texts(), ids=lambda p: str(p.relative_to(ROOT)))
def test_pages_use_the_wording_of_taiwan(path: Path):
    assert not mainland_words(path.read_text(encoding="utf-8"))


def test_messages_use_the_wording_of_taiwan():
    found = {}
    for path in python_files():
        inside = path.relative_to(SOURCE).parent.as_posix()
        words = mainland_words("\n".join(strings(path)))
        if words and inside not in QUOTED_FOLDERS:
            found[str(path.relative_to(ROOT))] = words
    assert not found


def mainland_words(text: str) -> list[str]:
    """Each mainland word that stands alone, with the one to use. A line that names both teaches and is allowed."""
    lines = [line for line in text.splitlines() if not any(a in line and b in line for a, b in MAINLAND.items())]
    return [f"{word} → {better}" for word, better in MAINLAND.items() if any(word in line for line in lines)]


def test_decisions_are_numbered_and_say_context_choice_cost():
    pages = sorted((ROOT / "docs" / "decisions").glob("*.md"))
    numbers = [page.name[:3] for page in pages]
    assert numbers == [f"{number:03d}" for number in range(1, len(pages) + 1)]
    for page in pages:
        text = page.read_text(encoding="utf-8")
        assert text.startswith(f"# {page.name[:3]}: "), page.name
        assert all(f"**{part}.**" in text for part in ("Context", "Choice", "Cost")), page.name


def test_the_table_of_families_is_that_of_the_registry():
    from hanlin.core.model.pretrained import known_families

    page = (ROOT / "docs" / "families.md").read_text(encoding="utf-8")
    table = page.partition("<!-- table")[2].partition("<!-- end of table")[0]
    rows = {row.split("]")[0].removeprefix("| ["): row for row in table.splitlines() if row.startswith("| [")}
    families = {family.__name__.rpartition(".")[2]: family for family in known_families()}
    assert rows.keys() == families.keys(), "run python scripts/families.py"
    for name, family in families.items():
        assert all(word in rows[name] for word in (*family.ARCHITECTURES, family.SUMMARY)), name


@pytest.mark.parametrize("path", sorted((ROOT / "benchmarks").glob("*.py")), ids=lambda path: path.name)
def test_a_benchmark_still_fits_the_code(path: Path):
    """It is imported, so a name that is gone is seen, and it says what it measures."""
    spec = importlib.util.spec_from_file_location(f"benchmark_{path.stem}", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert callable(module.main) and module.__doc__
    assert f"python benchmarks/{path.name}" in (ROOT / "benchmarks" / "README.md").read_text(encoding="utf-8")
