"""Mainland wording: counted, and on request converted to what Taiwan says, with its script. See core/text/wording.py
and core/text/conversion.py.

The counts are in the notes under `wording`, by the term's Traditional spelling: {"軟件": 2} where Taiwan says 軟體.
What a converted row said before is kept whole under `original`: the document, or the list of its messages' contents.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from hanlin.core.run.errors import HanlinError
from hanlin.core.text.conversion import TaiwanConverter
from hanlin.core.text.documents import Row
from hanlin.core.text.script import count_script
from hanlin.core.text.wording import count_wording
from hanlin.make.collect.options.form import Wording
from hanlin.make.collect.steps.matching.parts import texts_of, with_texts
from hanlin.make.collect.steps.step import Context, RowStep


def make(options: Wording, context: Context) -> RowStep:
    keep_names = _names(options.keep_names)
    converter = TaiwanConverter(keep_names, quotations=options.quotations == "keep", words=options.words)

    def worded(rows: list[Row]) -> Iterable[Row]:
        counts = _counts(rows)
        new = _converted(rows, converter) if options.convert else rows
        left = _counts(new) if options.convert else counts
        for row, said, remaining in zip(new, counts, left, strict=True):
            notes = {**row.notes, "wording": dict(said)} if said else row.notes
            yield replace(row, notes=notes, reason=_reason(row, remaining, options.most_per_1000))

    return worded


def _counts(rows: list[Row]) -> list[Counter[str]]:
    """Of all that the rows say outside of code."""
    return count_wording(["\n".join(texts_of(row)) for row in rows])


def _converted(rows: list[Row], converter: TaiwanConverter) -> list[Row]:
    texts = [texts_of(row) for row in rows]
    new = iter(converter.convert([text for several in texts for text in several]))
    return [_with(row, before, [next(new) for _ in before]) for row, before in zip(rows, texts, strict=True)]


def _with(row: Row, before: list[str], after: list[str]) -> Row:
    if before == after:
        return row
    original = before[0] if row.kind == "text" else before
    row = with_texts(row, after)
    return replace(row, script=count_script(row.content).script, notes={**row.notes, "original": original})


def _reason(row: Row, left: Counter[str], most: float | None) -> str:
    rate = 1000 * left.total() / max(1, row.characters)
    if most is None or rate <= most:
        return ""
    return f"mainland wording: {rate:.1f} per 1,000 characters"


def _names(keep_names: tuple[str, ...] | str) -> list[str]:
    if not isinstance(keep_names, str):
        return list(keep_names)
    try:
        lines = Path(keep_names).expanduser().read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise HanlinError(
            f"keep_names: {keep_names} can't be read ({type(error).__name__}).",
            "a UTF-8 file with one name a line, or a list of names",
            "keep_names='[于右任, 余光中]', or the file's right path",
            "src/hanlin/make/collect/README.md",
        ) from None
    return [name for line in lines if (name := line.strip())]
