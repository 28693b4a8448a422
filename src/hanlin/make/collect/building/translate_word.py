"""A word in Chinese ↔ English, from CC-CEDICT. Into Chinese only from glosses that no other word has."""

from __future__ import annotations

from collections.abc import Iterator

from hanlin.core.text.documents import Row
from hanlin.make.collect.building.builder import Nothing, Source
from hanlin.make.collect.building.entries import glosses_of, is_idiom, only_its_own, translations

TAKES = ("entry",)

MOST_GLOSSES = 3

TO_ENGLISH = (
    "「{word}」的英文怎麼說？",
    "把「{word}」翻成英文。",
    "請將下面的詞翻譯成英文：{word}",
    "Translate into English: {word}",
)
TO_CHINESE = (
    "「{gloss}」的中文怎麼說？",
    "{gloss} 在台灣的中文怎麼說？",
    "How do you say “{gloss}” in Chinese, as used in Taiwan?",
    "Translate into Traditional Chinese: {gloss}",
    "請把「{gloss}」翻譯成繁體中文。",
)


def build(source: Source) -> Iterator[Row]:
    glosses, word = glosses_of(source), source.facts["word"]
    if is_idiom(glosses) or len(word) < 2:
        raise Nothing("an idiom" if is_idiom(glosses) else "a single character")
    if not (short := translations(glosses)):
        raise Nothing("explained, not translated")
    yield source.chat(source.pick(TO_ENGLISH).format(word=word), "; ".join(short[:MOST_GLOSSES]))
    if own := only_its_own(source, glosses[:1]):
        yield source.chat(source.pick(TO_CHINESE, "back").format(gloss=own[0]), word, "back")
