"""An interpretation's question → its holding, from Taiwan's Constitutional Court."""

from __future__ import annotations

import re
from collections.abc import Iterator

from hanlin.core.text.documents import Row
from hanlin.make.collect.building.builder import Nothing, Source
from hanlin.make.collect.reading.court import holding_of, sections

TAKES = ("interpretation",)

MOST_CHARS = 3000

QUESTIONS = (
    "{question}",
    "請依司法院大法官的解釋回答：{question}",
    "{question}\n\n請以大法官的解釋文回答。",
    "下面是司法院{number}解釋的爭點，請寫出解釋文。\n\n{question}",
    "大法官在{number}解釋中，怎麼回答這個問題？\n\n{question}",
    "我在準備憲法考試，想知道大法官對這個爭點的見解：\n\n{question}",
)

_ASKS = re.compile("[？?]")


def build(source: Source) -> Iterator[Row]:
    parts = sections(source.row.text)
    question, holding = parts.get("爭點", ""), holding_of(parts.get("解釋文", ""))
    if not _ASKS.search(question):
        raise Nothing("no question")
    if not holding:
        raise Nothing("no holding")
    if len(holding) > MOST_CHARS:
        raise Nothing("a long holding")
    yield source.chat(source.pick(QUESTIONS).format(question=question, number=source.row.group), holding)
