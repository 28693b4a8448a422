"""A Chinese word → what it means, in English, from CC-CEDICT."""

from __future__ import annotations

from collections.abc import Iterator

from hanlin.core.text.documents import Row
from hanlin.make.collect.building.builder import Nothing, Source
from hanlin.make.collect.building.entries import glosses_of, heading_of, is_idiom

TAKES = ("entry",)

QUESTIONS = (
    "「{word}」是什麼意思？請用英文解釋。",
    "請用英文說明「{word}」的意思，並附上讀音。",
    "「{word}」怎麼念？英文怎麼解釋？",
    'What does the Chinese word "{word}" mean?',
    "Explain {word} in English, and tell me how it is read.",
    "幫我查「{word}」的讀音和英文解釋。",
)


def build(source: Source) -> Iterator[Row]:
    glosses, facts = glosses_of(source), source.facts
    if is_idiom(glosses):
        raise Nothing("an idiom")
    if len(facts["word"]) < 2:
        raise Nothing("a single character")
    meaning = (
        f" {glosses[0]}" if len(glosses) == 1 else "\n" + "\n".join(f"{n}. {g}" for n, g in enumerate(glosses, start=1))
    )
    reply = f"{heading_of(source)}:{meaning}"
    if facts["measures"]:
        reply += f"\nMeasure word: {', '.join(facts['measures'])}"
    yield source.chat(source.pick(QUESTIONS).format(word=facts["word"]), reply)
