"""`hanlin runs`: what has been made, what is unfinished."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup


class RunsGroup(TyperGroup):
    """`hanlin runs FOLDER` is `hanlin runs list FOLDER`; a misspelt subcommand is no folder."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        if args and args[0] not in self.commands and (Path(args[0]).exists() or Path(args[0]).name != args[0]):
            args = ["list", *args]
        elif args and args[0] not in self.commands:
            from hanlin.core.run.errors import HanlinError, did_you_mean

            known = did_you_mean(args[0], self.commands)
            raise HanlinError(f'hanlin runs has no command "{args[0]}".', known, "hanlin runs --help", "docs/runs.md")
        return super().resolve_command(ctx, args)


class Along(StrEnum):
    """What a curve runs along."""

    steps = "steps"
    tokens = "tokens"
    minutes = "minutes"


By = Annotated[Along, typer.Option(help="what the curves run along")]
Html = Annotated[Path | None, typer.Option(help="write it as a page to this file", dir_okay=False)]

runs = typer.Typer(
    cls=RunsGroup, invoke_without_command=True, help="What has been made, what is unfinished: list, show, compare."
)


@runs.callback()
def runs_alone(ctx: typer.Context) -> None:
    if ctx.invoked_subcommand is None:
        list_runs(Path("runs"))


@runs.command("list")
def list_runs(folder: Annotated[Path, typer.Argument()] = Path("runs")) -> None:
    """A table: state, key figure, steps, minutes, alerts."""
    from hanlin.output import is_terminal, print_lines, terminal_ink, terminal_width
    from hanlin.runs_view import list_lines

    print_lines(list_lines(folder, terminal_width() if is_terminal() else None, terminal_ink()))


@runs.command("show")
def show_run(path: Path, by: By = Along.steps, html: Html = None) -> None:
    """One run, finished or not: options, figures, curve, alerts, samples."""
    from hanlin.output import print_lines, terminal_ink, terminal_width
    from hanlin.report.record import find_run, read_record
    from hanlin.report.run_page import run_page, write_page
    from hanlin.runs_view import show_lines

    record = read_record(find_run(path))
    if html is not None:
        write_page(html, run_page(record, by.value))
        print(f"page: {html}")
    else:
        print_lines(show_lines(record, by.value, terminal_width(), terminal_ink()))


@runs.command("compare")
def compare_runs(paths: list[Path], by: By = Along.steps, html: Html = None) -> None:
    """Two runs or more side by side: options that differ, figures, curves, loss at equal places."""
    from hanlin.output import print_lines, terminal_ink, terminal_width
    from hanlin.report.comparison import compare
    from hanlin.report.record import find_runs, read_record
    from hanlin.report.run_page import comparison_page, write_page
    from hanlin.runs_compare import compare_lines

    comparison = compare([read_record(path) for path in find_runs(paths)], by.value)
    if html is not None:
        write_page(html, comparison_page(comparison))
        print(f"page: {html}")
    else:
        print_lines(compare_lines(comparison, terminal_width(), terminal_ink()))
