"""A poem's title and form → the poem."""

from __future__ import annotations

from collections.abc import Iterator

from hanlin.core.text.documents import Row
from hanlin.make.collect.building.builder import Nothing, Source
from hanlin.make.collect.building.verses import poem_of

TAKES = ("poem",)

MOST_VERSES = 16

BY_AUTHOR = (
    "請寫出{dynasty}代{author}的{form}〈{title}〉。",
    "{author}的〈{title}〉全文是什麼？",
    "我想讀{dynasty}代{author}的〈{title}〉，請給我全文。",
)
BY_TITLE = (
    "請以〈{title}〉為題，寫一首{form}。",
    "寫一首{form}，題目是〈{title}〉。",
)


def build(source: Source) -> Iterator[Row]:
    poem = poem_of(source)
    if not (poem.is_signed or is_theme(poem.title)):
        raise Nothing("neither an author nor a theme")
    if poem.num_verses > MOST_VERSES:
        raise Nothing("a long poem")
    questions = (*BY_AUTHOR, *(BY_TITLE if is_theme(poem.title) else ())) if poem.is_signed else BY_TITLE
    yield source.chat(source.pick(questions).format(**poem.named), "\n".join(poem.lines))


def is_theme(title: str) -> bool:
    """Whether the title alone can be asked for: 〈春望〉, not 〈雜題八首 其一〉."""
    return " " not in title and not title.endswith("首") and "韻" not in title
