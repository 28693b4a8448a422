"""A poem's right continuation, preferred to one that breaks its form: a verse too short or too long, the lines of
another poem, the rhyme at the wrong place."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import replace

from hanlin.core.text.documents import Row
from hanlin.make.collect.building.builder import Nothing, Source
from hanlin.make.collect.building.poem_rest import question
from hanlin.make.collect.building.verses import Poem, poem_of
from hanlin.make.collect.reading.poems import verses_of

TAKES = ("poem",)

_INSIDE = re.compile(r"[「」『』《》〈〉\s]")


def build(source: Source) -> Iterator[Row]:
    poem = poem_of(source)
    if poem.num_verses not in (4, 8):
        raise Nothing("neither 絕句 nor 律詩")
    num_lines = len(poem.lines) // 2
    rest = poem.lines[num_lines:]
    if _INSIDE.search("".join(rest)):
        raise Nothing("quotations or blanks inside verses")
    ways = [_shorter, _longer, _rhyme_moved, *([_of_another] if _other(source, poem) else [])]
    first = source.number(len(ways), "way")
    tried = (way(source, rest) for way in (*ways[first:], *ways[:first]))
    broken = next((lines for lines in tried if lines != rest), None)
    if broken is None:
        raise Nothing("nothing to break")
    yield source.preference(question(source, poem, num_lines), "\n".join(rest), "\n".join(broken))


def _shorter(source: Source, lines: tuple[str, ...]) -> tuple[str, ...]:
    """A verse of one character less."""
    return _with_line(source, lines, lambda one, other: (one[:-2] + one[-1:], other))


def _longer(source: Source, lines: tuple[str, ...]) -> tuple[str, ...]:
    """A verse whose last but one character stands twice."""
    return _with_line(source, lines, lambda one, other: (one, other[:-1] + other[-2:]))


def _rhyme_moved(source: Source, lines: tuple[str, ...]) -> tuple[str, ...]:
    """Verses of each line exchanged: what rhymed stands where nothing rhymes."""
    return tuple(_line(line, *reversed(verses_of(line))) for line in lines)


def _of_another(source: Source, lines: tuple[str, ...]) -> tuple[str, ...]:
    other = _other(source, None)
    return other[-len(lines) :] if other else lines


def _other(source: Source, like: Poem | None) -> tuple[str, ...]:
    """Lines of the poem before, where it has as many lines (and, by `like`, is of another form or rhyme)."""
    if source.before is None:
        return ()
    try:
        found = poem_of(replace(source, row=source.before))
    except Nothing:
        return ()
    if like is not None and (len(found.lines) < len(like.lines) or found.lines == like.lines):
        return ()
    return found.lines


def _with_line(
    source: Source, lines: tuple[str, ...], change: Callable[[str, str], tuple[str, str]]
) -> tuple[str, ...]:
    place = source.number(len(lines), "line")
    one, other = verses_of(lines[place])
    return (*lines[:place], _line(lines[place], *change(one, other)), *lines[place + 1 :])


def _line(like: str, one: str, other: str) -> str:
    """Two verses with the punctuation of a line."""
    first, second = verses_of(like)
    return like.replace(first, "\0", 1).replace(second, "\1", 1).replace("\0", one).replace("\1", other)
