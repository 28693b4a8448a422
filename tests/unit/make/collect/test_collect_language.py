"""The step that tags rows with their language, and keeps some."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError
from samples import assistant, user

from hanlin.core.text.documents import Row
from hanlin.make.collect.steps.language import Language, make
from hanlin.make.collect.steps.step import Context

TEXTS = {
    "zh-TW": "臺灣的夜市有很多小吃。",
    "zh-CN": "北京的胡同里有许多小吃店。",
    "yue": "我哋聽日去飲茶，你嚟唔嚟呀？",
    "nan": "逐家攏愛去夜市食物件。",
    "ja": "日本の祭りには屋台がたくさんあります。",
    "en": "The night market sells all kinds of food.",
    "zh": "大山小山",
    "und": "2024-01-02 12:30",
}


def tagged(rows, **options):
    return list(make(Language(**options), Context({}, Path()))(rows))


def test_rows_are_tagged_and_stay():
    out = tagged([Row(name, text=text) for name, text in TEXTS.items()])
    assert [row.language for row in out] == list(TEXTS) and not any(row.reason for row in out)
    assert all(0 <= row.notes["language"] <= 1 for row in out)


def test_some_languages_are_kept():
    rows = [Row(name, text=text) for name, text in TEXTS.items()]
    assert [row.id for row in tagged(rows, keep=["zh-TW", "en"]) if not row.reason] == ["zh-TW", "en"]
    assert [row.id for row in tagged(rows, keep=["zh"]) if not row.reason] == ["zh-TW", "zh-CN", "zh"]
    out = tagged(rows, keep=["zh-TW"], undecided="zh-TW")
    assert [row.id for row in out if not row.reason] == ["zh-TW", "zh"]
    assert out[4].reason == "language: ja" and out[4].language == "ja"


def test_a_doubtful_answer_may_count_as_none():
    (row,) = tagged([Row("1", text="大山小山")], least_confidence=0.6)
    assert row.language == "und"
    with pytest.raises(ValidationError):
        Language(least_confidence=2)


def test_conversations_and_preferences():
    chat = Row("1", messages=(user("What do night markets sell?"), assistant(TEXTS["zh-TW"] * 5)))
    pair = Row(
        "2", messages=(user("好吃嗎？"),), chosen=(assistant(TEXTS["yue"]),), rejected=(assistant(TEXTS["yue"]),)
    )
    out = tagged([chat, pair])
    assert [row.language for row in out] == ["zh-TW", "yue"] and out[0].messages == chat.messages
