"""Bring text into one form that reads the same: width, blanks, invisible characters, line breaks, boilerplate lines.

The mathematics is in core/text/normal_form.py. What went is counted in the notes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import replace

from hanlin.core.text.documents import Row
from hanlin.core.text.normal_form import (
    halve_width,
    join_hyphenated,
    join_wraps,
    tidy_blanks,
    widen_punctuation,
    without_boilerplate,
    without_invisible,
)
from hanlin.core.text.protected import hide, show
from hanlin.make.collect.options.form import Normalise
from hanlin.make.collect.steps.matching.parts import texts_of, with_texts
from hanlin.make.collect.steps.step import Context, RowStep


def make(options: Normalise, context: Context) -> RowStep:
    more = frozenset(line.strip() for line in options.boilerplate_lines)

    def normalised(rows: list[Row]) -> Iterable[Row]:
        return (_row(row, options, more) for row in rows)

    return normalised


def normal_form(text: str, options: Normalise, more: frozenset[str], gone: Counter[str]) -> str:
    """The text in its normal form; `gone` counts boilerplate. Doing it twice changes nothing more."""
    for _ in range(4):
        before, text = text, _once(text, options, more, gone)
        # Only joined lines and removed ones can meet something new to do.
        if text == before or not (options.hyphenation or options.wraps or options.punctuation):
            break
    return text


def _once(text: str, options: Normalise, more: frozenset[str], gone: Counter[str]) -> str:
    if options.invisible:
        text = without_invisible(text)
    text, spans = hide(text, quotations=False)
    if options.width:
        text = halve_width(text)
    if options.hyphenation:
        text = join_hyphenated(text)
    if options.wraps:
        text = join_wraps(text)
    if options.boilerplate or more:
        text, spans, lines = without_boilerplate(text, more, spans, known=options.boilerplate)
        gone.update(lines)
    if options.punctuation:
        text = widen_punctuation(text)
    if options.blanks:
        text = tidy_blanks(text)
    return show(text, spans)


def _row(row: Row, options: Normalise, more: frozenset[str]) -> Row:
    before = texts_of(row)
    gone: Counter[str] = Counter()
    if row.type == "code":  # an indent, a width or a line of its license may be meant
        options, more = (
            Normalise(invisible=options.invisible, width=False, blanks=False, boilerplate=False),
            frozenset(),
        )
    elif row.kind != "text":  # a message may be no more than 列印
        options, more = options.model_copy(update={"boilerplate": False}), frozenset()
    after = [normal_form(text, options, more, gone) for text in before]
    if after == before:
        return row
    notes = {**row.notes, "normalise": dict(gone)} if gone else row.notes
    reason = "empty" if any(before) and not any(after) else ""
    return replace(with_texts(row, after), notes=notes, reason=reason)
