"""What must load quickly loads no heavy library: each module is imported alone in a fresh process."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

import hanlin

PACKAGE = Path(hanlin.__file__).parent
HEAVY = (
    *("torch", "transformers", "numpy", "pyarrow", "tokenizers", "safetensors", "opencc"),
    *("fastapi", "uvicorn", "openai", "anthropic", "google", "httpx"),
)
ALONE = [
    "hanlin",
    "hanlin.cli",
    "hanlin.rooms",
    "hanlin.workflow",
    "hanlin.terminal",
    "hanlin.runs_compare",
    "hanlin.report.run_page",
]


def module_of(path: Path) -> str:
    return ".".join(("hanlin", *path.relative_to(PACKAGE).with_suffix("").parts)).removesuffix(".__init__")


LIGHT = [
    *ALONE,
    *(module_of(path) for path in sorted((PACKAGE / "core" / "run").glob("*.py"))),
    *(module_of(path) for path in sorted((PACKAGE / "core" / "connect").rglob("*.py"))),
    *(module_of(path) for path in sorted(PACKAGE.rglob("config.py"))),
]


def loaded_after(code: str) -> set[str]:
    """The top-level modules of a fresh process after `code`."""
    report = "import json, sys; print(json.dumps(sorted({name.partition('.')[0] for name in sys.modules})))"
    done = subprocess.run([sys.executable, "-c", f"{code}\n{report}"], capture_output=True, text=True, check=True)
    return set(json.loads(done.stdout.splitlines()[-1]))


def test_light_modules_load_no_heavy_library() -> None:
    """All of them in one process: what none of them loads together, none loads alone."""
    modules = sorted(set(LIGHT))
    assert "hanlin.core.train.config" in modules and "hanlin.core.run.execute" in modules
    loaded = loaded_after("\n".join(f"import {name}" for name in modules))
    assert not loaded.intersection(HEAVY)


def test_the_package_alone_loads_next_to_nothing() -> None:
    assert not loaded_after("import hanlin").intersection([*HEAVY, "pydantic", "yaml", "typer", "rich"])


@pytest.mark.parametrize("words", ["'--help'", "'pretrain', '--help'", "'serve', '--help'"])
def test_help_loads_no_heavy_library(words: str) -> None:
    code = (
        f"import sys; sys.argv = ['hanlin', {words}]\n"
        "from hanlin.cli import main\n"
        "try:\n    main()\nexcept SystemExit as left:\n    assert not left.code"
    )
    assert not loaded_after(code).intersection(HEAVY)
