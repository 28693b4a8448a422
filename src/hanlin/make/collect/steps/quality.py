"""Drop what nobody wrote to be read: menus, lists of keywords or links, repetition, broken characters.

The rules of C4, Gopher and FineWeb, re-thought for languages without blanks; what is counted, and the papers, stand in
judging/figures.py and judging/repetition.py. The defaults were set on court decisions and poems of Tang and Song, of
which they drop next to nothing. A conversation is judged by all its messages together, a preference with both replies.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from hanlin.core.text import alphabets
from hanlin.core.text.documents import Row
from hanlin.make.collect.options.judging import Quality
from hanlin.make.collect.steps.judging.figures import figures
from hanlin.make.collect.steps.step import Context, RowStep

_SURELY = 0.9
_MODERN, _CLASSICAL = "modern function characters", "classical function characters"


def make(options: Quality, context: Context) -> RowStep:
    def judge(row: Row) -> Row:
        found = figures(row.content)
        reason = next(_broken_rules(options, row, found), "") if found else "too few characters: 0"
        return replace(row, reason=reason, notes={**row.notes, "quality": _noted(found)})

    def judge_all(rows: list[Row]) -> Iterable[Row]:
        return map(judge, rows)

    return judge_all


def _noted(found: dict[str, float]) -> dict[str, float]:
    return {name: round(value, 4) for name, value in found.items()}


def _broken_rules(options: Quality, row: Row, found: dict[str, float]) -> Iterator[str]:
    """The reasons against the row, the first of which is given to it."""
    if found["characters"] < options.least_characters:
        yield f"too few characters: {found['characters']:.0f} < {options.least_characters}"
    yield from _of_characters(options, found)
    yield from _of_lines(options, found)
    yield from _of_repetition(options, found)
    yield from _of_language(options, row, found)


def _of_characters(options: Quality, found: dict[str, float]) -> Iterator[str]:
    yield from _most("broken characters", found["broken"], options.most_broken)
    yield from _most("addresses", found["addresses"], options.most_addresses)
    if found["lorem ipsum"]:
        yield "lorem ipsum"
    if options.code:
        return
    yield from _most("curly brackets", found["curly brackets"], options.most_curly_brackets)
    yield from _most("digits", found["digits"], options.most_digits)
    yield from _most("symbols", found["symbols"], options.most_symbols)
    yield from _most("punctuation", found["punctuation"], options.most_punctuation)
    yield from _least("few letters", found["letters"], options.least_letters)
    spaced = "words" in found or "east asian" in found
    if spaced and options.text != "classical" and found["characters"] >= 200:
        pauses = found["punctuation"] + (found["lines"] - 1) / found["characters"] * (options.text == "any")
        yield from _least("no punctuation", pauses, options.least_punctuation)
        if found["characters"] >= options.most_without_end and found["sentence ends"] == 0 and found["lines"] < 3:
            yield f"no sentence: {found['characters']:.0f} characters without an end"


def _of_lines(options: Quality, found: dict[str, float]) -> Iterator[str]:
    yield from _most("boilerplate", found["boilerplate"], options.most_boilerplate)
    if found["lines"] < 8 or options.code:
        return
    yield from _most("bullets", found["bullets"], options.most_bullets)
    yield from _most("ellipses", found["ellipses"], options.most_ellipses)
    if options.text != "classical":
        # Verses are short and may end without punctuation, but all of them are of about one length, and few.
        yield from _most("short lines", found["short lines"], options.most_short_lines)
        if found["line length"] < 30:
            yield from _least("lines without an end", found["lines with an end"], options.least_lines_with_end)


def _of_repetition(options: Quality, found: dict[str, float]) -> Iterator[str]:
    if found["lines"] >= 4:
        yield from _most("repeated lines", found["repeated lines"], options.most_repeated_lines)
        yield from _most("repeated paragraphs", found["repeated paragraphs"], options.most_repeated_paragraphs)
    yield from _most("one phrase again and again", found["top n-gram"], options.most_top_ngram)
    yield from _most("repeated phrases", found["repeated n-grams"], options.most_repeated_ngrams)


def _of_language(options: Quality, row: Row, found: dict[str, float]) -> Iterator[str]:
    if "east asian" in found:
        if found["east asian"] >= 20:
            yield from _least("rare characters", found["common characters"], options.least_common)
        if found["east asian"] >= 100:
            share = {"modern": found[_MODERN], "classical": found[_CLASSICAL]}
            yield from _least(
                "no function characters", share.get(options.text, max(share.values())), options.least_function
            )
        return
    if options.code or "words" not in found:
        return
    if found["words"] >= 10:
        yield from _least("words of single letters", found["word length"], options.least_word_length)
        yield from _most("overlong words", found["word length"], options.most_word_length)
        yield from _least("words without letters", found["words with a letter"], options.least_words_with_letter)
    if found["words"] >= 30 and found["stop words"] < options.least_stop_words and _is_english(row):
        yield f"no stop words: {found['stop words']:.0f} < {options.least_stop_words}"


def _is_english(row: Row) -> bool:
    if row.language:
        return row.language == "en"
    language, probability = alphabets.best(row.content, "Latin")
    return language == "en" and probability >= _SURELY


def _most(name: str, value: float, limit: float) -> Iterator[str]:
    if value > limit:
        yield f"{name}: {value:.3g} > {limit:g}"


def _least(name: str, value: float, limit: float) -> Iterator[str]:
    if value < limit:
        yield f"{name}: {value:.3g} < {limit:g}"
