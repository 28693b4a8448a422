"""The page at the end of a run: what happened to the text, in words a newcomer understands (Traditional Chinese)."""

from __future__ import annotations

from pathlib import Path

from hanlin.core.run.artifact import write_atomic
from hanlin.report.facts import read_run
from hanlin.report.markdown import as_markdown
from hanlin.report.page import as_html
from hanlin.report.summary import summarise

__all__ = ["summary_lines", "write_report"]


def write_report(folder: Path) -> tuple[Path, Path]:
    """Write `report.md` and `report.html` into a recipe's folder and return their paths.

    Steps that are missing are left out. Raises HanlinError when no step is finished.
    """
    run = read_run(folder)
    markdown, page = folder / "report.md", folder / "report.html"
    write_atomic(markdown, as_markdown(run))
    write_atomic(page, as_html(run))
    return markdown, page


def summary_lines(folder: Path) -> list[str]:
    """The run in a dozen lines, for the terminal."""
    return summarise(read_run(folder))
