"""繁 or 簡: each row is tagged by the characters that only one script uses, and kept or dropped by it. See
core/text/script.py."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from hanlin.core.text.documents import Row
from hanlin.core.text.script import ScriptCount, count_scripts
from hanlin.make.collect.options.form import Script
from hanlin.make.collect.steps.step import Context, RowStep


def make(options: Script, context: Context) -> RowStep:
    def judged(rows: list[Row]) -> Iterable[Row]:
        for row, count in zip(rows, count_scripts([row.content for row in rows])):
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
