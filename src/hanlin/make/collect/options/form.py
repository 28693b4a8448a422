"""Options of the steps that look at how a text is written: its form, script, wording and language."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from hanlin.core.text.scripts import Script as ScriptName
from hanlin.make.collect.options.step import StepOptions


class Normalise(StepOptions):
    """One form for what reads the same. Code, addresses, paths, indented lines and tables are left alone; of source
    files only invisible characters go."""

    step: Literal["normalise"] = "normalise"
    width: bool = Field(
        True,
        description="full-width Latin letters and digits become half width (Ａ１ → A1), half-width katakana full; "
        "Kangxi radicals and compatibility ideographs become the usual characters, ﬁ becomes fi. Never punctuation, "
        "②, m² or ™",
    )
    blanks: bool = Field(
        True,
        description="runs of blanks become one, wide blanks plain ones; blanks at line ends and wide indents go; "
        "of many blank lines one stays",
    )
    invisible: bool = Field(
        True,
        description="zero-width and control characters, marks of direction, soft hyphens and idle variation selectors "
        "go; emoji keep their joiners",
    )
    boilerplate: bool = Field(
        True,
        description="lines of documents go that are nothing but a copyright notice, a page number, a link for "
        "navigation (回上一頁, 列印) or a word about cookies",
    )
    boilerplate_lines: tuple[str, ...] = Field((), description="more lines that go, wherever they stand alone")
    punctuation: bool = Field(False, description="half-width , ; : ? ! . () between Han characters become full width")
    hyphenation: bool = Field(
        False,
        description="words hyphenated at a line's end are joined (exam-⏎ple; also well-⏎known, so not by default)",
    )
    wraps: bool = Field(
        False,
        description="a line break between two Han characters goes, of lines of 15 characters or more (not for verse)",
    )


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


class Wording(StepOptions):
    """Count the mainland's words; convert them, and Simplified characters, to Taiwan's."""

    step: Literal["wording"] = "wording"
    convert: bool = Field(
        False,
        description="write Taiwan's characters and words. Text that is Traditional already changes in its words alone. "
        "Code, addresses and paths are never touched; what the row said before stays in its notes (original)",
    )
    words: bool = Field(True, description="convert words too (軟件 → 軟體); false: characters alone (软件 → 軟件)")
    quotations: Literal["keep", "convert"] = Field(
        "keep", description="what stands in 「」, 『』 or “” on one line: keep it as it was said, or convert it too"
    )
    keep_names: tuple[str, ...] | str = Field(
        (), description="names and other strings that are never touched: a list, or a file with one a line"
    )
    most_per_1000: float | None = Field(
        None,
        ge=0,
        description="rows with more mainland terms per 1,000 characters are dropped (of converted rows, what is left "
        "counts). Default: no limit",
    )


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
