"""Which language a short text is in."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hanlin.core.text.language import identify, language_of
from hanlin.core.text.ngrams import code_points, hashed_ngrams
from hanlin.core.text.romanised import taiwanese_share

SENTENCES = [
    line.split("\t")
    for line in Path(__file__).with_name("language_sentences.tsv").read_text(encoding="utf-8").splitlines()[1:]
]
FIRST = ("zh-TW", "zh-CN", "yue", "nan", "en", "ja")


def test_the_sentences_are_enough():
    of = Counter(language for _, language, _ in SENTENCES)
    assert len(SENTENCES) >= 250 and all(of[language] >= 40 for language in FIRST)
    assert len({text for *_, text in SENTENCES}) == len(SENTENCES)


@pytest.mark.parametrize("language", FIRST)
def test_short_sentences(language):
    found = Counter(identify(text).tag for _, true, text in SENTENCES if true == language)
    assert found[language] / found.total() >= 0.95, found


def test_other_languages():
    wrong = [
        (true, identify(text), text) for _, true, text in SENTENCES if true not in FIRST and language_of(text) != true
    ]
    assert len(wrong) <= 4, wrong


@pytest.mark.parametrize(
    "text, expected",
    [
        ("", "und"),
        ("12:30 😀", "und"),
        ("https://example.org/some/long/english/address?query=words 憲法法庭判決", "zh-TW"),
        ("我用 Python 寫程式", "zh-TW"),
        ("優の良品專賣店", "zh-TW"),
        ("ㄋㄧˇㄏㄠˇ", "zh-TW"),
        ("毋庸置疑，上訴人與被上訴人間之關係係屬僱傭", "zh-TW"),
        ("內閣閣員拉攏阮氏，共同仲裁", "zh-TW"),
        ("東京駅前", "ja"),
        ("ﾊﾟｿｺﾝ", "ja"),
        ("Καλημέρα", "el"),
        ("Доброго ранку, як справи?", "uk"),
        ("今日は hello", "ja"),
        ("\ud83d", "und"),
    ],
)
def test_cases(text, expected):
    assert language_of(text) == expected


def test_what_is_written_alike():
    assert [language_of("大山", name) for name in ("zh", "zh-TW", "zh-CN")] == ["zh", "zh-TW", "zh-CN"]


@given(st.text(st.characters(), max_size=60))
def test_any_text_has_an_answer(text):
    found = identify(text)
    assert found.tag and 0 <= found.confidence <= 1 and identify(text) == found


def test_romanised_taiwanese_is_told_by_syllables_and_tones():
    assert taiwanese_share("Góa sī Tâi-oân lâng") == 1
    assert taiwanese_share("Guá sī Tâi-uân-lâng, lí--leh?") == 1
    assert taiwanese_share("Tôi không hiểu gì cả") < 0.7
    assert taiwanese_share("a kha e li") == 0


@given(st.text(st.characters(), max_size=30), st.sampled_from([(1,), (2, 3), (1, 2, 3, 4)]))
def test_ngrams_are_hashed_as_the_formula_says(text, sizes):
    codes = code_points(text).tolist()
    expected = []
    for size in sizes:
        for start in range(len(codes) - size + 1):
            value = 2166136261
            for code in codes[start : start + size]:
                value = ((value ^ code) * 16777619) % 2**32
            expected.append((value ^ value >> 15) % 2**12)
    found = hashed_ngrams(np.array(codes, dtype=np.uint32), sizes, 12)
    assert found.tolist() == expected
