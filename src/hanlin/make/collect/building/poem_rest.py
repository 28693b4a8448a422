"""The beginning of a poem, with its title and form → the rest of it."""

from __future__ import annotations

from collections.abc import Iterator

from hanlin.core.text.documents import Row
from hanlin.make.collect.building.builder import Nothing, Source
from hanlin.make.collect.building.verses import Poem, poem_of

TAKES = ("poem",)

QUESTIONS = (
    "請續寫這首{form}〈{title}〉：\n\n{beginning}",
    "下面是{dynasty}代{author}〈{title}〉的開頭，接下來是什麼？\n\n{beginning}",
    "{beginning}\n\n這是一首{form}，題目是〈{title}〉。請寫完它。",
    "請接著寫完{author}的{form}〈{title}〉。\n\n{beginning}",
)
NAMELESS = tuple(question for question in QUESTIONS if "{author}" not in question)


def build(source: Source) -> Iterator[Row]:
    poem = poem_of(source)
    if poem.num_verses not in (4, 8):
        raise Nothing("neither 絕句 nor 律詩")
    num_lines = 1 if len(poem.lines) == 2 else 1 + source.number(2, "lines")
    yield source.chat(question(source, poem, num_lines), "\n".join(poem.lines[num_lines:]))


def question(source: Source, poem: Poem, num_lines: int) -> str:
    """Asks for what follows the first `num_lines` lines."""
    template = source.pick(QUESTIONS if poem.is_signed else NAMELESS)
    return template.format(beginning="\n".join(poem.lines[:num_lines]), **poem.named)
