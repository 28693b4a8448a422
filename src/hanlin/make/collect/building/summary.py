"""The reasoning of an interpretation → its holding, as a summary in the court's own words."""

from __future__ import annotations

from collections.abc import Iterator

from hanlin.core.text.documents import Row
from hanlin.make.collect.building.builder import Nothing, Source
from hanlin.make.collect.reading.court import holding_of, sections

TAKES = ("interpretation",)

MOST_CHARS = 4000
LEAST_RATIO = 2.0
"""A summary is at most half as long as what it sums up."""

QUESTIONS = (
    "請把下面的解釋理由書濃縮成解釋文。\n\n{reasoning}",
    "請摘要下面這份理由書的結論。\n\n{reasoning}",
    "以下是司法院{number}解釋的理由書，請寫出它的解釋文。\n\n{reasoning}",
    "{reasoning}\n\n以上是一號大法官解釋的理由書。結論是什麼？",
    "讀完下面的理由，請用一段話說出大法官的見解。\n\n{reasoning}",
)


def build(source: Source) -> Iterator[Row]:
    parts = sections(source.row.text)
    reasoning, holding = holding_of(parts.get("理由書", "")), holding_of(parts.get("解釋文", ""))
    if not reasoning or not holding:
        raise Nothing("no reasoning")
    if len(reasoning) > MOST_CHARS:
        raise Nothing("a long reasoning")
    if len(reasoning) < LEAST_RATIO * len(holding):
        raise Nothing("a reasoning hardly longer than the holding")
    yield source.chat(source.pick(QUESTIONS).format(reasoning=reasoning, number=source.row.group), holding)
