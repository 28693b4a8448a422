"""An idiom (成語) → its meaning in English, and the meaning → the idiom, from CC-CEDICT."""

from __future__ import annotations

from collections.abc import Iterator

from hanlin.core.text.documents import Row
from hanlin.make.collect.building.builder import Nothing, Source
from hanlin.make.collect.building.entries import glosses_of, heading_of, is_idiom, only_its_own, without_marks

TAKES = ("entry",)

MEANINGS = (
    "成語「{word}」是什麼意思？請用英文說明。",
    "請用英文解釋成語「{word}」。",
    "What does the Chinese idiom {word} mean?",
    "「{word}」這句成語怎麼念？怎麼用英文解釋給外國朋友聽？",
)
IDIOMS = (
    "哪一句成語的意思是「{meaning}」？",
    "Which Chinese idiom means “{meaning}”?",
    "請給我一句成語，意思是：{meaning}",
)


def build(source: Source) -> Iterator[Row]:
    glosses, facts = glosses_of(source), source.facts
    if not is_idiom(glosses):
        raise Nothing("not an idiom")
    heading = heading_of(source)
    told = "; ".join(map(without_marks, glosses))
    yield source.chat(source.pick(MEANINGS).format(word=facts["word"]), f"{heading}: {told}")
    own = only_its_own(source, [gloss for gloss in glosses if not gloss.startswith("literally")])
    if own:
        meaning = source.pick(own).removeprefix("figuratively ")
        yield source.chat(source.pick(IDIOMS, "back").format(meaning=meaning), heading, "back")
