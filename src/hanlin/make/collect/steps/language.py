"""Tag each row with its language, and keep some languages alone. How it is told: hanlin.core.text.language."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Literal

from pydantic import Field

from hanlin.core.text.documents import Row
from hanlin.core.text.language import identify
from hanlin.make.collect.steps.step import Context, RowStep, StepOptions


class Language(StepOptions):
    """Which language each row is in."""

    step: Literal["language"] = "language"
    keep: tuple[str, ...] = Field(
        (),
        description="languages to keep, as BCP 47 tags (zh-TW, zh-CN, yue, nan, en, ja, …; zh stands for all standard "
        "Chinese; und for rows without a language, such as numbers). Default: all",
    )
    undecided: Literal["zh", "zh-TW", "zh-CN"] = Field(
        "zh", description="what Chinese characters are that are written alike in Taiwan and in the mainland (大山)"
    )
    least_confidence: float = Field(
        0.0, ge=0, le=1, description="below that a row's language counts as und (0 … 1; 0 trusts every answer)"
    )


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
