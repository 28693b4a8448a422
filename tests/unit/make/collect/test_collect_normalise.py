"""Normalise: one form for what reads the same, and nothing else changes."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from hanlin.core.text.documents import Row
from hanlin.core.text.normal_form import without_invisible
from hanlin.make.collect.steps.normalise import Normalise, make, normal_form
from hanlin.make.collect.steps.step import Context

CONTEXT = Context({}, Path())
ALL = Normalise(punctuation=True, hyphenation=True, wraps=True)


def normalised(text: str, options: Normalise | None = None) -> str:
    return normal_form(text, options or Normalise(), frozenset(), Counter())


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("ＡＢＣ１２３ｘ", "ABC123x"),
        ("ｶﾞｽとﾊﾟﾝ", "ガスとパン"),
        ("⼀⼆⼈", "一二人"),
        ("ﬁne oﬃce", "fine office"),
        ("豈有此理", "豈有此理"),
        ("他說：好，走吧！（笑）", "他說：好，走吧！（笑）"),
        ("①②③ ㎡ ™ m² ½ H₂O", "①②③ ㎡ ™ m² ½ H₂O"),
        ("　　第一段\n　　第二段", "第一段\n第二段"),
        ("多   個\u3000空白  ", "多 個 空白"),
        ("一\n\n\n\n\n二", "一\n\n二"),
        ("- 清單\n  - 內層", "- 清單\n  - 內層"),
        ("零\u200b寬\ufeff\u00ad字\u200e", "零寬字"),
        ("👨\u200d👩\u200d👧 和 ❤\ufe0f", "👨\u200d👩\u200d👧 和 ❤\ufe0f"),
        ("می\u200cخواهم", "می\u200cخواهم"),
        ("A\ufe0fB\u200dC", "ABC"),
        ("葛\U000e0100城", "葛\U000e0100城"),
        ("```\nｘ  =  １\n```", "```\nｘ  =  １\n```"),
        ("用`Ａ  Ｂ`呼叫", "用`Ａ  Ｂ`呼叫"),
        ("| 甲  | 乙 |\n|----|----|", "| 甲  | 乙 |\n|----|----|"),
        ("    縮排  程式", "    縮排  程式"),
        ("內文\n版權所有 © 2024 某某公司\n第 3 頁/共 12 頁\n回上一頁\n列印", "內文"),
        ("本文討論列印的方法。\n第 3 頁寫著答案", "本文討論列印的方法。\n第 3 頁寫著答案"),
    ],
)
def test_what_changes_by_default(before: str, after: str) -> None:
    assert normalised(before) == after


@pytest.mark.parametrize(
    ("option", "before", "after"),
    [
        ("punctuation", "你好,世界.\n他說:好!(真的)", "你好，世界。\n他說：好！（真的）"),
        ("punctuation", "圓周率是3.14,時間12:30, ok (yes)", "圓周率是3.14,時間12:30, ok (yes)"),
        ("hyphenation", "an exam-\nple of it", "an example of it"),
        (
            "wraps",
            "這一行文字很長，長到在中間斷成\n兩行。\n標題\n下一段",
            "這一行文字很長，長到在中間斷成兩行。\n標題\n下一段",
        ),
        ("wraps", "床前明月光\n疑是地上霜", "床前明月光\n疑是地上霜"),
    ],
)
def test_what_changes_on_request(option: str, before: str, after: str) -> None:
    assert normalised(before) == before
    assert normalised(before, Normalise.model_validate({option: True})) == after


@pytest.mark.parametrize("option", ["width", "blanks", "invisible", "boilerplate"])
def test_each_change_can_be_left_out(option: str) -> None:
    sample = {"width": "Ａ", "blanks": "一  二", "invisible": "一\u200b二", "boilerplate": "內文\n回上一頁"}[option]
    assert normalised(sample) != sample
    assert normalised(sample, Normalise.model_validate({option: False})) == sample


def test_boilerplate_is_counted_and_messages_keep_theirs() -> None:
    step = make(Normalise(boilerplate_lines=("關於我們",)), CONTEXT)
    page = Row("page", text="內文\n關於我們\n第 1 頁\n第 2 頁")
    chat = Row("chat", messages=({"role": "user", "content": "列印"}, {"role": "assistant", "content": "好  的"}))
    nothing = Row("nothing", text="版權所有，翻印必究")
    page, chat, nothing = step([page, chat, nothing])
    assert page.text == "內文" and page.notes == {"normalise": {"listed": 1, "page number": 2}}
    assert [message["content"] for message in chat.messages] == ["列印", "好 的"] and not chat.notes
    assert nothing.reason == "empty"


AWKWARD = "一二，。 \u3000\t\n\r-|`~「」/:\\.()*#aZ"
AWKWARD += "Ａ１ｶﾞ⼀ﬁ\u200b\u200d\u200c\u00ad\ufe0f\U000e0100👨❤①²\u0645\u202e頁第3\ufffe"


@settings(max_examples=400, deadline=None)
@given(st.one_of(st.text(AWKWARD, max_size=40), st.text(max_size=40)))
@example("⼀/ﬁ\\")
def test_twice_is_once(text: str) -> None:
    for options in (Normalise(), ALL):
        once = normalised(text, options)
        assert normalised(once, options) == once


@settings(max_examples=200, deadline=None)
@given(st.text(st.characters(categories=("L", "N")), max_size=30))
def test_nothing_but_marks_is_taken_out(text: str) -> None:
    assert without_invisible(text) == text


def test_source_code_loses_invisible_characters_alone() -> None:
    code = "# Ａ１ © 2024 example\nif a:\u200b\n\n\n\n  b  =  1   \n\n# 第 3 頁\n"
    step = make(Normalise(boilerplate_lines=("  b  =  1",)), Context({}, Path()))
    (kept,) = step([Row(id="a.py", text=code, type="code")])
    assert kept.text == code.replace("\u200b", "")
    (document,) = step([Row(id="a.md", text=code, type="document")])
    assert document.text != kept.text


@pytest.mark.parametrize(
    ("line", "stays"),
    [
        ("© 2024 https://example.org/about", False),
        ("版權所有 https://example.org \U000f0000", False),
        ("`版權所有`", True),
        ("```\n© 2024\n```", True),
        ("見 https://example.org", True),
    ],
)
def test_lines_with_addresses_and_code(line: str, stays: bool) -> None:
    text = f"甲 `a  b` 丙\n{line}\n乙 https://example.org/b 丁"
    assert normalised(text) == (text if stays else "甲 `a  b` 丙\n乙 https://example.org/b 丁")


def test_listed_lines_go_alone() -> None:
    only = Normalise(boilerplate=False, boilerplate_lines=("看 https://example.org",))
    listed = frozenset(only.boilerplate_lines)
    assert normal_form("甲\n看 https://example.org\n© 2024", only, listed, Counter()) == "甲\n© 2024"
