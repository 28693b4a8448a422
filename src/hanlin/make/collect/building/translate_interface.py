"""A program's string in English ↔ in Taiwan's Chinese. Placeholders stay as they are."""

from __future__ import annotations

import re
from collections.abc import Iterator

from hanlin.core.text.documents import Row
from hanlin.make.collect.building.builder import Nothing, Source

TAKES = ("interface",)

MOST_CHARS = 1500

TO_CHINESE = (
    "把下面的介面文字翻成台灣使用的中文。{kept}\n\n{text}",
    "請將這段軟體介面文字翻譯成繁體中文（台灣）。{kept}\n\n{text}",
    "Translate this interface text into Traditional Chinese as used in Taiwan.{kept_en}\n\n{text}",
    "我在做軟體的正體中文在地化，這一句怎麼翻？{kept}\n\n{text}",
)
TO_ENGLISH = (
    "把下面的介面文字翻成英文。{kept}\n\n{text}",
    "Translate this interface text into English.{kept_en}\n\n{text}",
    "這句軟體介面的英文怎麼寫？{kept}\n\n{text}",
)
KEPT, KEPT_ENGLISH = "大括號裡的字照抄。", " Keep what stands in braces as it is."

_PLACEHOLDER = re.compile(r"\{[^{}]*\}")
_WORD = re.compile("[A-Za-z]{2}")


def build(source: Source) -> Iterator[Row]:
    english, chinese = source.facts["en"], source.facts["zh"]
    if len(english) > MOST_CHARS or not _WORD.search(_PLACEHOLDER.sub("", english)):
        raise Nothing("nothing to translate")
    if not (source.facts["ask_en"] or source.facts["ask_zh"]):
        raise Nothing("asked before")
    has_places = _PLACEHOLDER.search(english) is not None
    kept = {"kept": KEPT if has_places else "", "kept_en": KEPT_ENGLISH if has_places else ""}
    if source.facts["ask_en"]:
        yield source.chat(source.pick(TO_CHINESE).format(text=english, **kept), chinese)
    if source.facts["ask_zh"]:
        yield source.chat(source.pick(TO_ENGLISH, "back").format(text=chinese, **kept), english, "back")
