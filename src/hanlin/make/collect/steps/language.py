"""Tag each row with its language, and keep some languages alone. How it is told: hanlin.core.text.language."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from hanlin.core.text.documents import Row
from hanlin.core.text.language import identify
from hanlin.make.collect.options.form import Language
from hanlin.make.collect.steps.step import Context, RowStep


def make(options: Language, context: Context) -> RowStep:
    keep = frozenset(options.keep) | ({"zh-TW", "zh-CN"} if "zh" in options.keep else frozenset())

    def tag(row: Row) -> Row:
        found = identify(row.content, options.undecided)
        language = found.tag if found.confidence >= options.least_confidence else "und"
        reason = f"language: {language}" if keep and language not in keep else ""
        notes = {**row.notes, "language": found.confidence}
        return replace(row, language=language, reason=reason, notes=notes)

    def tag_all(rows: list[Row]) -> Iterable[Row]:
        return map(tag, rows)

    return tag_all
