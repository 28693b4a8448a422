"""繁 or 簡: each row is tagged by the characters that only one script uses, and kept or dropped by it. See
core/text/script.py."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Literal

from pydantic import Field

from hanlin.core.text.documents import Row
from hanlin.core.text.script import Script as ScriptName
from hanlin.core.text.script import ScriptCount, count_script
from hanlin.make.collect.steps.step import Context, RowStep, StepOptions


class Script(StepOptions):
    """Tag each row Hant, Hans, mixed or other; drop those that are not wanted."""

    step: Literal["script"] = "script"
    keep: tuple[ScriptName, ...] = Field(
        ("Hant", "Hans", "mixed", "other"),
        min_length=1,
        description="scripts that stay. other: no Han characters, or none that only one script uses (大山 is both)",
    )
    most_simplified_per_1000: float | None = Field(
        None,
        ge=0,
        description="rows with more characters that only Simplified Chinese uses, per 1,000 characters, are dropped. "
        "Default: no limit",
    )


def make(options: Script, context: Context) -> RowStep:
    def judged(rows: list[Row]) -> Iterable[Row]:
        for row in rows:
            count = count_script(row.content)
            notes = {**row.notes, "script": shares(count)} if count.traditional + count.simplified else row.notes
            yield replace(row, script=count.script, reason=_reason(count, options), notes=notes)

    return judged


def shares(count: ScriptCount) -> dict[str, float]:
    """Characters that only one script uses, among all Han characters."""
    han = max(1, count.han)
    return {
        "only Traditional": round(count.traditional / han, 4),
        "only Simplified": round(count.simplified / han, 4),
    }


def _reason(count: ScriptCount, options: Script) -> str:
    if count.script not in options.keep:
        return f"script: {count.script}"
    most = options.most_simplified_per_1000
    if most is not None and count.simplified_per_1000 > most:
        return f"simplified: {count.simplified_per_1000:.1f} per 1,000 characters"
    return ""
