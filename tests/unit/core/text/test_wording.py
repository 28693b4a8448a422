"""Mainland wording is counted where it is meant, and not where it stands by chance."""

from __future__ import annotations

from collections import Counter

import pytest

from hanlin.core.text.conversion import TaiwanConverter
from hanlin.core.text.wording import FIRST_MARK, count_wording, is_about_computing, wording


def test_terms_are_counted_by_text_in_both_scripts() -> None:
    counts = count_wording(["這個軟件的軟件包，視頻", "", "这个软件的出租车", "臺灣的軟體"])
    assert counts == [
        Counter({"軟件": 1, "軟件包": 1, "視頻": 1}),
        Counter(),
        Counter({"軟件": 1, "出租車": 1}),
        Counter(),
    ]
    assert count_wording([]) == []


@pytest.mark.parametrize(
    "text",
    [
        "刑事訴訟程序", "物體的質量", "信息素", "桌面水平", "電力用戶", "有線電視頻道", "各行政區域名稱", "不勝枚舉",
        "尤應綜合徵求同意", "國會多數組閣", "符合同法規定", "以行政命令行之", "演算法與大數據", "數據機", "支持與保存",
        "刑警搜索住宅", "計算機",
    ],
)  # fmt: skip
def test_taiwan_wording_is_not_counted(text: str) -> None:
    assert not count_wording([text])[0]


def test_private_characters_of_a_text_are_no_terms() -> None:
    assert count_wording([chr(FIRST_MARK + 100) + "軟件`视频`"]) == [Counter({"軟件": 1})]


def test_computing_is_known_by_its_terms_and_cues() -> None:
    assert is_about_computing(["這個軟件", "手機", "計程車", "", "Python"]) == [True, True, False, False, True]


def test_the_list_is_sound() -> None:
    terms = wording().terms
    assert len(terms) > 500
    assert len({(term.mainland, term.when == "beside") for term in terms}) == len(terms)
    assert {term.when for term in terms} == {"always", "simplified", "beside"}
    always = [term for term in terms if term.when == "always"]
    converted = TaiwanConverter().convert([term.taiwan for term in always])
    assert converted == [term.taiwan for term in always], "what Taiwan says changes no further"
