"""Heuristics of quality: what they count, what they drop, and what they leave alone."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest
from bad_texts import BAD_TEXTS
from hypothesis import given
from hypothesis import strategies as st
from samples import assistant, user

from hanlin.core.text.documents import Row
from hanlin.make.collect.intake import clean_text
from hanlin.make.collect.steps.judging.figures import figures
from hanlin.make.collect.steps.judging.repetition import repeated_share, top_share, units_of
from hanlin.make.collect.steps.quality import Quality, make
from hanlin.make.collect.steps.step import Context

LAW = (
    "原告主張：被告於民國一百零九年三月間向其借款新臺幣五十萬元，約定同年六月底清償，屆期竟未返還，"
    "迭經催討均置之不理，為此依消費借貸之法律關係請求被告給付。"
)
POEM = "床前明月光，疑是地上霜。\n舉頭望明月，低頭思故鄉。"
ENGLISH = (
    "The court held that the statute was void because it did not give the people a clear idea of what was forbidden.\n"
    "It is for the legislature to decide how far the freedom of those who work at night may be limited, and why."
)
LISTED = "# 安裝\n\n- 先下載檔案。\n- 再開啟終端機，並輸入下列指令。\n- 完成後，請重新啟動電腦。"


def judged(content, /, **options):
    (row,) = make(Quality(**options), Context({}, Path()))([Row("1", text=content)])
    return row.reason


@pytest.mark.parametrize("text", [LAW, POEM, ENGLISH, LISTED, "請問捷運站在哪裡？謝謝您！", LAW + "\n" + ENGLISH])
def test_good_text_stays(text):
    assert judged(text) == ""


@pytest.mark.parametrize("kind", BAD_TEXTS, ids=lambda kind: kind.__name__)
def test_bad_text_is_found(kind):
    rng = random.Random(7)
    reasons = [judged(clean_text(kind(rng))) for _ in range(40)]
    assert sum(map(bool, reasons)) >= 36


def test_reasons_name_the_rule_the_value_and_the_limit():
    assert judged("同一行就是同一行。\n" * 5 + "另一行是另一行。") == "repeated lines: 0.667 > 0.3"
    assert judged("同一行就是同一行。\n" * 5 + "另一行是另一行。", most_repeated_lines=0.9).startswith(
        "one phrase again and again: "
    )
    assert judged(" \n ") == "too few characters: 0"


def test_profiles():
    listed = "大學 中庸 論語 孟子 詩經 尚書 禮記 周易 春秋 左傳 爾雅 孝經 " * 2
    old = "".join(
        random.Random(3).sample(
            "天地玄黃宇宙洪荒日月盈昃辰宿列張寒來暑往秋收冬藏閏餘成歲律呂調陽雲騰致雨露結為霜" * 8, 240
        )
    )
    assert judged(old, text="modern") == "no punctuation: 0 < 0.008"
    assert judged(old, text="classical", most_repeated_ngrams=1) == ""
    assert judged(listed, most_top_ngram=1, most_repeated_ngrams=1) == ""
    program = "\n".join(f"def double_{name}(x): return {{'{name}': 2 * x}}" for name in "abcdefghij")
    assert judged(program) and not judged(program, code=True)


def test_other_kinds_of_rows_are_judged_by_all_they_say():
    chat = Row("1", messages=(user("請問這要怎麼辦理？"), assistant(LAW)))
    pair = Row("2", messages=(user("請問這要怎麼辦理？"),), chosen=(assistant(LAW),), rejected=(assistant("哈" * 300),))
    out = list(make(Quality(), Context({}, Path()))([chat, pair]))
    assert [bool(row.reason) for row in out] == [False, True]
    assert out[0].messages == chat.messages and out[0].notes["quality"]["characters"] > 80


def test_repetition_by_hand():
    text = "甲乙丙丁戊己庚辛" * 2 + "子丑寅卯"
    units = units_of(text, np.array([ord(c) for c in text], dtype=np.uint32), "characters")
    assert repeated_share(units) == 8 / 20
    assert top_share(units) == 0
    words = units_of("a b c d e x a b c d e", np.array([], dtype=np.uint32), "words")
    assert repeated_share(words) == 5 / 11
    often = units_of("ab cd " * 6, np.array([], dtype=np.uint32), "words")
    assert top_share(often) == 1


@given(st.text(st.sampled_from("一二三 ab\n。") | st.characters(), max_size=300))
def test_any_text_has_finite_figures(text):
    found = figures(text)
    assert all(np.isfinite(value) for value in found.values())
    shares = [found[name] for name in ("letters", "digits", "punctuation", "top n-gram", "repeated n-grams") if found]
    assert all(0 <= share <= 1 for share in shares)
    judged(text)
