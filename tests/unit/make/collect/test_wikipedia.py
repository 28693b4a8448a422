"""Wikipedia dumps: articles as plain text, in Taiwan's wording, and what is dropped."""

from __future__ import annotations

import bz2
import gzip
import random
from pathlib import Path
from xml.sax.saxutils import escape

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hanlin.make.collect.config import Collect
from hanlin.make.collect.reading import walk, wikipedia
from hanlin.make.collect.reading.reader import Reading
from hanlin.make.collect.reading.wiki_variants import apply, resolve, rules_of
from hanlin.make.collect.reading.wikitext import Unparsable, plain_text

HEAD = (
    '<mediawiki xmlns="http://www.mediawiki.org/xml/export-0.11/" version="0.11" xml:lang="zh">\n'
    "  <siteinfo><sitename>Wikipedia</sitename><dbname>zhwiki</dbname>"
    "<base>https://zh.wikipedia.org/wiki/Wikipedia:%E9%A6%96%E9%A1%B5</base></siteinfo>\n"
)
YUSHAN = """{{NoteTA|1=zh-cn:信息;zh-tw:資訊}}
{{Infobox mountain|name=玉山|elevation=3952}}
'''玉山'''（{{lang-en|Yushan}}）是[[臺灣]]的[[高山|最高山]]。<ref>某書。</ref><!-- 註 -->
旅遊信息見-{zh-tw:網路;zh-cn:网络}-。
[[File:Yushan.jpg|thumb|玉山[[主峰]]]]
== 地理 ==
* 海拔3,952公尺<br />
{| class="wikitext"
! 標題
|}
== 參考資料 ==
{{reflist}}
[[Category:臺灣山峰]]"""


def page(number: int, title: str, text: str, ns: int = 0, redirect: str = "") -> str:
    to = f'<redirect title="{redirect}" />' if redirect else ""
    return (
        f"  <page>\n<title>{title}</title><ns>{ns}</ns><id>{number}</id>{to}<revision><id>1</id>"
        f"<timestamp>2023-04-05T00:00:00Z</timestamp><model>wikitext</model>"
        f'<text xml:space="preserve">{escape(text)}</text></revision></page>\n'
    )


PAGES = [
    page(1, "玉山", YUSHAN),
    page(2, "新高山", "#重定向 [[玉山]]", redirect="玉山"),
    page(3, "玉山 (消歧義)", "'''玉山'''可以指：\n* [[玉山]]\n{{disambig}}"),
    page(4, "Talk:玉山", "討論", ns=1),
    page(5, "阿里山", "'''阿里山'''在[[嘉義縣]]。"),
]
DUMP = HEAD + "".join(PAGES) + "</mediawiki>\n"


def read(path: Path):
    heard = Reading(Collect(), scratch=path.parent / "scratch")
    return list(heard.file(path, path.name)), heard


@pytest.mark.parametrize("name, pack", [("w.xml", bytes), ("w.xml.bz2", bz2.compress), ("w.xml.gz", gzip.compress)])
def test_a_dump(tmp_path, name, pack):
    (tmp_path / name).write_bytes(pack(DUMP.encode()))
    rows, heard = read(tmp_path / name)
    assert [(row.id, row.reason) for row in rows] == [
        (f"{name}#1", ""),
        (f"{name}#2", "redirect: 新高山 → 玉山"),
        (f"{name}#3", "disambiguation"),
        (f"{name}#5", ""),
    ]
    assert rows[0].text == "玉山\n\n玉山（Yushan）是臺灣的最高山。\n旅遊資訊見網路。\n\n地理\n\n- 海拔3,952公尺"
    assert (rows[0].source, rows[0].year, rows[0].type) == ("https://zh.wikipedia.org/wiki/玉山", 2023, "article")
    assert rows[0].notes == {"wikipedia": {"wordings to Taiwan's": 1}}
    assert heard.notes == [f"{tmp_path / name}: left out 1 × namespace 1."]


@pytest.mark.parametrize(
    "markup, shown",
    [
        ("-{zh-tw:資訊;zh-cn:信息}-", "資訊"),
        ("-{zh-cn:信息; zh-tw:資訊;}-", "資訊"),
        ("-{zh-hans:后;zh-hant:後}-", "後"),
        ("-{zh-cn:信息;zh-hk:資訊}-", "資訊"),
        ("-{zh-cn:信息}-", "信息"),
        ("-{原文}-", "原文"),
        ("-{R|原文}-", "原文"),
        ("-{H|zh-cn:信息;zh-tw:資訊}-信息", "資訊"),
        ("-{A|zh-cn:信息;zh-tw:資訊}-和信息和-{信息}-", "資訊和資訊和信息"),
        ("-{T|zh-cn:信息;zh-tw:資訊}-甲", "甲"),
        ("-{zh-tw:甲-{乙}-丙;zh-cn:丁}-", "甲乙丙"),
        ("-{H|巨集=>zh-tw:巨集;宏=>zh-tw:巨集}-宏和巨集", "巨集和巨集"),
        ("<math>x^{-{a}-b}</math>", "$x^{-{a}-b}$"),
        ("-{沒有結束", "-{沒有結束"),
        ("結束}-", "結束}-"),
        ("-{zh-tw:a:b;zh-cn:c}-", "a:b"),
    ],
)
def test_language_conversion(markup, shown):
    assert plain_text(markup).text == shown


@pytest.mark.parametrize(
    "markup, shown",
    [
        ("甲{{nowrap|乙}}丙{{未知|丁}}", "甲乙丙"),
        ("{{link-en|資料結構|Data structure}}", "資料結構"),
        ("[[:en:Data|資料]]、[[en:Data]]、[[分類:山]]", "資料、、"),
        ("[https://example.com 名稱]與[https://example.com]", "名稱與"),
        ("A &amp; B&nbsp;C", "A & B C"),
        ("'''粗'''''斜'''", "粗斜"),
        ("（{{lang|en|Jade}}；）", "（Jade）"),
        ("甲（{{bd|1900年}}）乙", "甲乙"),
        ("== 一 ==\n甲\n== 外部連結 ==\n乙\n=== 子 ===\n丙\n== 二 ==\n丁", "一\n\n甲\n\n二\n\n丁"),
        ("__NOTOC__甲<nowiki>[[乙]]</nowiki>", "甲[[乙]]"),
        ("{|\n|-\n| 格\n|}\n甲", "甲"),
    ],
)
def test_wikitext(markup, shown):
    assert plain_text(markup).text == shown


def test_longer_wordings_go_first_and_nothing_changes_twice():
    rules = rules_of("zh-cn:软件;zh-tw:軟體") | rules_of("zh-cn:软件包;zh-tw:套件") | {"軟體": "軟件"}
    assert apply("软件包与软件", rules) == ("套件与軟體", 2)


@given(st.text(alphabet="-{}|;:=>zh-tw甲乙AH", max_size=60))
def test_any_conversion_markup_is_taken(text):
    resolved, rules = resolve(text)
    changed, _ = apply(resolved, rules)
    assert "\ue000" not in changed and "\ue001" not in changed


@given(
    st.lists(
        st.sampled_from(
            [
                "{{",
                "}}",
                "[[",
                "]]",
                "'''",
                "<ref>",
                "</ref>",
                "{|",
                "|}",
                "|-",
                "=",
                "甲",
                "\n",
                "<br>",
                "-{",
                "}-",
                "&lt;",
                "<!--",
                "-->",
                "*",
                "[http://a ",
                "]",
                "{{{",
                "}}}",
                "<b a='",
                ">",
                "|",
            ]
        ),
        max_size=80,
    )
)
def test_any_wikitext_is_taken(parts):
    plain_text("".join(parts))


def test_markup_that_would_take_the_parser_minutes_is_refused():
    for opening in ("<ref>", "{{a|", "[[a|{{b|", "<!--", "[http://", '<div a="', "<b>"):
        with pytest.raises(Unparsable, match="opened and never closed"):
            plain_text(opening * 20_000)
    with pytest.raises(Unparsable, match="nested too deep"):
        plain_text("{{{" * 3000 + "}}" * 4500)
    with pytest.raises(Unparsable, match="over"):
        plain_text("甲" * (2**21 + 1))


def test_what_is_no_dump(tmp_path):
    laughs = (
        '<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a "ha"><!ENTITY b "&a;&a;">]>'
        + HEAD
        + "<page>&b;</page></mediawiki>"
    )
    for data, why in (
        (b"", "empty"),
        (b"<html></html>", "no dump"),
        (laughs.encode(), "DOCTYPE"),
        ((HEAD + "</mediawiki>").encode(), "holds no pages"),
        (DUMP.encode("utf-16"), "no dump"),
    ):
        (tmp_path / "w.xml").write_bytes(data)
        [row] = read(tmp_path / "w.xml")[0]
        assert row.id == "w.xml" and why in row.reason


def test_a_cut_or_broken_dump_gives_its_pages_up_to_there(tmp_path):
    # bzip2 gives nothing of a block that is cut; multistream dumps have a hundred pages in each.
    parts = [HEAD, *PAGES, "</mediawiki>\n"]
    stream = b"".join(bz2.compress(part.encode()) for part in parts)
    cut = len(stream) - len(bz2.compress(parts[-1].encode())) - 20
    for name, data in (
        ("w.xml", DUMP.encode()[: DUMP.encode().index("阿里山".encode())]),
        ("w.xml", DUMP.replace("<id>5</id>", "<id>5<id>").encode()),
        ("w.xml.bz2", stream[:cut]),
        ("w.xml.gz", gzip.compress(DUMP.encode())[:-9]),
    ):
        (tmp_path / name).write_bytes(data)
        rows, _ = read(tmp_path / name)
        assert rows[-1].id == name and rows[-1].reason.startswith("unreadable: ")
        assert rows[0].text.startswith("玉山")


@pytest.mark.parametrize("name", ["w.xml", "w.xml.bz2"])
def test_spans_read_as_the_whole(tmp_path, monkeypatch, name):
    pages = [page(number, f"第{number}頁", f"第{number}頁的內容。" * 50) for number in range(1, 40)]
    path = tmp_path / name
    if name.endswith("bz2"):
        streams = [HEAD, *("".join(pages[start : start + 5]) for start in range(0, len(pages), 5)), "</mediawiki>"]
        path.write_bytes(b"".join(bz2.compress(stream.encode()) for stream in streams))
    else:
        path.write_text(HEAD + "".join(pages) + "</mediawiki>")
    whole, _ = read(path)
    monkeypatch.setattr(walk, "UNIT_BYTES", path.stat().st_size // 6)
    parts = list(walk._by_size({name: path}))
    assert len(parts) > 3
    heard = Reading(Collect())
    assert [row for _, _, span in parts for row in wikipedia.read(path, name, heard, span)] == whole
    path.write_bytes(path.read_bytes()[:-14])
    *_, (_, _, last) = walk._by_size({name: path})
    assert list(wikipedia.read(path, name, heard, last))[-1].reason.startswith("unreadable: ")


def test_damaged_dumps_never_raise_anything_else(tmp_path):
    chance = random.Random(0)
    for name, whole in (("w.xml", DUMP.encode()), ("w.xml.bz2", bz2.compress(DUMP.encode()))):
        for _ in range(60):
            data = bytearray(whole)
            for _ in range(chance.randint(1, 6)):
                data[chance.randrange(len(data))] = chance.randrange(256)
            (tmp_path / name).write_bytes(data[: chance.choice([len(data), chance.randrange(len(data))])])
            read(tmp_path / name)
