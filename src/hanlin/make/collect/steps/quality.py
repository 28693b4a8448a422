"""Drop what nobody wrote to be read: menus, lists of keywords or links, repetition, broken characters.

The rules of C4, Gopher and FineWeb, re-thought for languages without blanks; what is counted, and the papers, stand in
judging/figures.py and judging/repetition.py. The defaults were set on court decisions and poems of Tang and Song, of
which they drop next to nothing. A conversation is judged by all its messages together, a preference with both replies.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Literal

from pydantic import Field

from hanlin.core.text import alphabets
from hanlin.core.text.documents import Row
from hanlin.make.collect.steps.judging.figures import figures
from hanlin.make.collect.steps.step import Context, RowStep, StepOptions

_SURELY = 0.9
_MODERN, _CLASSICAL = "modern function characters", "classical function characters"


class Quality(StepOptions):
    """Drop what isn't text written to be read."""

    step: Literal["quality"] = "quality"
    text: Literal["any", "modern", "classical"] = Field(
        "any",
        description="which Chinese to expect: modern (的了是在), classical (之乎者也; needs no punctuation), or any",
    )
    code: bool = Field(
        False, description="whether curly brackets, symbols and short lines are welcome, as they are in source code"
    )
    least_characters: int = Field(10, ge=0, description="characters without white space; shorter rows are dropped")
    least_letters: float = Field(
        0.5, ge=0, le=1, description="share of letters and Han characters; others: digits, signs"
    )
    most_digits: float = Field(0.3, ge=0, le=1, description="share of digits")
    most_symbols: float = Field(0.15, ge=0, le=1, description="share of signs that are no punctuation (#, □, emoji, …)")
    most_broken: float = Field(
        0.02, ge=0, le=1, description="share of characters that no font has, or of sequences as a wrong encoding makes"
    )
    most_addresses: float = Field(0.5, ge=0, le=1, description="share of characters in addresses of web pages")
    most_punctuation: float = Field(0.45, ge=0, le=1, description="share of punctuation")
    least_punctuation: float = Field(
        0.008,
        ge=0,
        le=1,
        description="share of punctuation in texts of 200 characters and more; not for classical text",
    )
    most_without_end: int = Field(
        300,
        ge=1,
        description="characters without a sentence's end or a third line, from which a text is a list of words",
    )
    most_curly_brackets: float = Field(
        0.02, ge=0, le=1, description="share of { and }: what is left of a page's program"
    )
    least_lines_with_end: float = Field(
        0.1,
        ge=0,
        le=1,
        description="share of lines that end in punctuation, where 8 or more are of under 30 characters on average",
    )
    most_short_lines: float = Field(
        0.75, ge=0, le=1, description="share of lines under 12 characters without punctuation, from 8 lines on: menus"
    )
    most_bullets: float = Field(0.9, ge=0, le=1, description="share of lines that begin with a bullet, from 8 lines on")
    most_ellipses: float = Field(0.3, ge=0, le=1, description="share of lines that end in an ellipsis, from 8 lines on")
    most_boilerplate: float = Field(
        0.3,
        ge=0,
        le=1,
        description="share of characters in lines as every web page has them (會員登入, All rights reserved)",
    )
    most_repeated_lines: float = Field(
        0.3, ge=0, le=1, description="share of lines that an earlier one says, from 4 on"
    )
    most_repeated_paragraphs: float = Field(
        0.3, ge=0, le=1, description="share of paragraphs that an earlier one says, from 4 lines on"
    )
    most_top_ngram: float = Field(
        0.35,
        ge=0,
        le=1,
        description="share of characters in the most frequent n-gram (2 to 4 words, 4 to 6 Chinese characters), in "
        "texts of 50 characters and more",
    )
    most_repeated_ngrams: float = Field(
        0.6,
        ge=0,
        le=1,
        description="share of characters in n-grams that stood there before (5 words, 8 Chinese characters)",
    )
    least_common: float = Field(
        0.8,
        ge=0,
        le=1,
        description="share of Han characters that are among the daily ones of Taiwan (5,401) or the mainland (3,755), "
        "in texts of 20 and more",
    )
    least_function: float = Field(
        0.008,
        ge=0,
        le=1,
        description="share of function characters among Han characters, in texts of 100 and more: lists of names and "
        "keywords have few",
    )
    least_stop_words: int = Field(
        2, ge=0, description="different English stop words in an English text of 30 words and more"
    )
    least_word_length: float = Field(2.5, ge=0, description="characters of a mean word, where words have blanks")
    most_word_length: float = Field(20.0, ge=1, description="characters of a mean word, where words have blanks")
    least_words_with_letter: float = Field(
        0.7, ge=0, le=1, description="share of words with a letter, from 10 words on"
    )


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
