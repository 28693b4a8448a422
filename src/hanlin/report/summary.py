"""The run in a dozen lines, for the terminal."""

from __future__ import annotations

from hanlin.columns import display_width, pad
from hanlin.core.run.numbers import duration
from hanlin.report.facts import Run
from hanlin.report.stages import tell_all
from hanlin.report.table import before_after

RULE = "─" * 64
SHOWN_FIGURES = 2


def summarise(run: Run) -> list[str]:
    """One line a stage, then the before/after table."""
    lines = [RULE]
    for stage in tell_all(run):
        figures = "，".join(f"{name} {value}" for name, value in stage.figures[:SHOWN_FIGURES])
        lines.append(f"{pad(stage.title, 12)}{pad(duration(stage.step.seconds), 12)}{figures}")
    if table := before_after(run):
        first = max(display_width(title) for title, _, _ in table.rows) + 2
        wide = max(10, *(display_width(name) + 2 for name in table.head))
        lines += [RULE, pad("", first) + "".join(pad(name, wide, right=True) for name in table.head)]
        for title, cells, direction in table.rows:
            figures = "".join(pad(cell.text, wide, right=True) for cell in cells)
            lines.append(f"{pad(title, first)}{figures}  {direction}".rstrip())
    if run.unfinished:
        lines.append(f"尚未完成：{'、'.join(run.unfinished)}（再執行一次同樣的指令，就會從中斷的地方繼續）")
    return [*lines, RULE]
