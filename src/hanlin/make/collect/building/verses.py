"""A poem as its builders see it: title, author, form, and lines of two verses each."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from hanlin.make.collect.building.builder import Nothing, Source
from hanlin.make.collect.reading.poems import verses_of

UNKNOWN_AUTHORS = ("不詳", "佚名", "無名氏", "闕名", "失名")

_MOST_TITLE_CHARS = 30


@dataclass(frozen=True)
class Poem:
    title: str
    author: str
    form: str
    dynasty: str
    lines: tuple[str, ...]

    @cached_property
    def num_verses(self) -> int:
        return len(verses_of("".join(self.lines)))

    @property
    def is_signed(self) -> bool:
        return bool(self.author) and self.author not in UNKNOWN_AUTHORS

    @property
    def named(self) -> dict[str, str]:
        """What a template may name."""
        return {"title": self.title, "author": self.author, "form": self.form, "dynasty": self.dynasty}


def poem_of(source: Source) -> Poem:
    """Raises Nothing for fragments, long titles, and poems without a form that counting tells."""
    facts, known = source.facts, source.row.notes.get("poem") or {}
    title, form = str(facts.get("title", "")), str(known.get("form", ""))
    if title.split(" ")[0] in ("", "句", "殘句", "斷句", "失題", "無題", "闕題"):
        raise Nothing("a fragment or a poem without a title")
    if len(title) > _MOST_TITLE_CHARS:
        raise Nothing("a long title")
    if not form or form == "雜言詩":
        raise Nothing("verses of different lengths")
    lines = tuple(line for line in source.row.text.partition("\n\n")[2].split("\n") if line.strip())
    if any(len(verses_of(line)) != 2 for line in lines):
        raise Nothing("lines that are no couplets")
    return Poem(title, str(facts.get("author", "")), form, str(known.get("dynasty", "")), lines)
