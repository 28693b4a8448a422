"""Mainland → Taiwan: the sentences, what stays as it is, and which text is taken for Simplified."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hanlin.core.text.characters import to_traditional
from hanlin.core.text.conversion import TaiwanConverter, to_mainland, to_taiwan
from hanlin.core.text.protected import HOLE, JOINT, hide, show
from hanlin.core.text.script import script_of

HERE = Path(__file__).parent


def sentences(name: str) -> Iterator[tuple[str, list[str]]]:
    """(simplified, all right ways to write it in Taiwan, ours first)."""
    for line in (HERE / name).read_text(encoding="utf-8").splitlines():
        if not line.startswith("#"):
            _, simplified, taiwan = line.split("\t")
            parts = re.split(r"\{([^}]*)\}", taiwan)
            choices = [part.split("|") if number % 2 else [part] for number, part in enumerate(parts)]
            yield simplified, ["".join(choice) for choice in itertools.product(*choices)]


def test_every_sentence_of_the_list_is_right() -> None:
    listed = list(sentences("conversion_sentences.tsv"))
    wrong = {simplified for simplified, right in listed if to_taiwan(simplified) not in right}
    assert len(listed) >= 250
    assert not wrong


def test_sentences_that_were_written_later_are_mostly_right() -> None:
    """94 of 100, when they were first seen (docs/log.md)."""
    heldout = list(sentences("conversion_heldout.tsv"))
    right = sum(to_taiwan(simplified) in taiwan for simplified, taiwan in heldout)
    assert right / len(heldout) > 0.93


@pytest.mark.parametrize(
    "text",
    [
        "```python\nprint('软件')  # 出租车\n```",
        "~~~\n软件\n~~~",
        "`软件`",
        "``a`软件``",
        "https://example.org/软件/用户?name=内存",
        "/home/用户/软件.txt",
        "C:\\用户\\软件\\a.txt",
        "「这个软件」",
        "『软件的“视频”』",
        "“软件”",
    ],
)
def test_code_addresses_paths_and_quotations_stay(text: str) -> None:
    before = f"这里的软件\n{text}\n后面的视频"
    assert TaiwanConverter().convert([before]) == [f"這裡的軟體\n{text}\n後面的影片"]


def test_quotations_can_be_converted_too() -> None:
    assert TaiwanConverter(quotations=False).convert(["他说：“视频很好”"]) == ["他說：“影片很好”"]


def test_names_of_the_allow_list_stay() -> None:
    assert TaiwanConverter(["台积软件", "余则成"]).convert(["余则成用台积软件写软件"]) == ["余则成用台积软件寫軟體"]


def test_characters_alone() -> None:
    assert TaiwanConverter(words=False).convert(["这个软件的头发"]) == ["這個軟件的頭髮"]


def test_traditional_text_changes_in_its_words_alone() -> None:
    text = "皇后鎮的里長范先生面子很大，余下的軟件與視頻在台北松山"
    assert TaiwanConverter().convert([text]) == [text.replace("軟件", "軟體").replace("視頻", "影片")]


def test_a_leak_is_mended_and_a_line_of_the_other_script_converted() -> None:
    before = "這位皇后的头髮很長，范先生的面子\n这是她的头发\n里面沒有說明"
    assert TaiwanConverter().convert([before]) == ["這位皇后的頭髮很長，范先生的面子\n這是她的頭髮\n里面沒有說明"]


@pytest.mark.parametrize(
    ("sentence", "taiwan"),
    [
        ("刑事诉讼程序应当公正。", "刑事訴訟程序應當公正。"),
        ("这个程序有一个漏洞。", "這個程式有一個漏洞。"),
        ("警察依法搜索住宅，并支持检察官。", "警察依法搜索住宅，並支持檢察官。"),
        ("软件支持搜索功能。", "軟體支援搜尋功能。"),
        ("演算法和算法", "演算法和演算法"),
    ],
)
def test_words_of_two_senses_follow_their_line(sentence: str, taiwan: str) -> None:
    assert to_taiwan(sentence) == taiwan


def test_back_to_the_mainland() -> None:
    assert to_mainland("這個軟體的記憶體不夠，計程車司機的頭髮乾了") == "这个软件的内存不够，出租车司机的头发干了"


def test_many_at_once_are_as_each_alone() -> None:
    texts = [simplified for simplified, _ in itertools.islice(sentences("conversion_sentences.tsv"), 60)]
    texts += ["這個軟件", "", "plain", "`软件`", "这个程序\n是软件\n", "\n"]
    converter = TaiwanConverter()
    assert converter.convert(texts) == [converter.convert([text])[0] for text in texts]
    assert converter.convert([]) == []


ANY = st.text("这個软件后里「」“”`~\n/:http.x乾干面台用户程序" + HOLE + JOINT + "\0\ud800\U000f0001", max_size=40)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.one_of(ANY, st.text(max_size=30)), max_size=4))
def test_any_text_is_converted_and_what_is_no_chinese_stays(texts: list[str]) -> None:
    converted = TaiwanConverter().convert(texts)
    assert len(converted) == len(texts)
    for before, after in zip(texts, converted, strict=True):
        assert before.count("\n") == after.count("\n")
        assert re.sub(r"[^\x00-\x7f]", "", before) == re.sub(r"[^\x00-\x7f]", "", after)


@settings(max_examples=200, deadline=None)
@given(st.one_of(ANY, st.text(max_size=40)))
def test_hidden_spans_come_back(text: str) -> None:
    assert show(*hide(text)) == text
    assert all(character not in hide(text)[0].replace(HOLE, "") for character in (JOINT, "\0", "\ud800"))


@settings(max_examples=100, deadline=None)
@given(st.text(st.characters(categories=("Lo", "Po", "Nd")), max_size=40))
def test_each_character_becomes_one_character(text: str) -> None:
    assert len(to_traditional(text)) == len(text)


def test_what_was_converted_is_traditional() -> None:
    for simplified, _ in sentences("conversion_sentences.tsv"):
        assert script_of(to_taiwan(simplified)) in ("Hant", "other")
