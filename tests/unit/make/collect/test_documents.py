"""Pages, Office files, books, subtitles: text in reading order, and damaged files rejected."""

from __future__ import annotations

import random
import sys
import zipfile
from datetime import datetime

import document_files
import pytest
from document_files import PARAGRAPHS

from hanlin.core.run.errors import HanlinError
from hanlin.make.collect.config import Collect
from hanlin.make.collect.reading.html import text_of_html
from hanlin.make.collect.reading.reader import Reading


def read(path, **options):
    reading = Reading(Collect(**{"pdf": {"ocr": "never"}, **options}))
    return list(reading.file(path, path.name)), reading.notes


def text_of(path):
    rows, _ = read(path)
    assert not any(row.reason for row in rows)
    return "\n".join(row.text for row in rows)


@pytest.mark.parametrize(
    "encoding, meta", [("utf-8", ""), ("utf-8", "big5"), ("cp950", "big5"), ("cp950", ""), ("utf-16", "")]
)
def test_a_page_is_its_article(tmp_path, encoding, meta):
    (tmp_path / "a.html").write_bytes(document_files.html(encoding, meta))
    text = text_of(tmp_path / "a.html")
    assert text.startswith("憲法與人民的權利\n" + PARAGRAPHS[0])
    assert "| 2023 | 120 |" in text
    assert not any(word in text for word in ("首頁", "登入", "熱門新聞", "Copyright", "不該出現", "某某新聞網"))


def test_pages_with_little_or_nothing():
    assert text_of_html("<p>只有一句話。</p>".encode()) == "只有一句話。"
    assert text_of_html(b"") == text_of_html(b"<html></html>") == ""
    wrapped = "<article><p>話說天下大勢，\n  分久必合，\n合久必分。two\nwords</p></article>"
    assert text_of_html(wrapped.encode()) == "話說天下大勢，分久必合，合久必分。two words"
    assert len(text_of_html(("<div>" * 5000 + "深處的文字" + "</div>" * 5000).encode())) < 10


def test_broken_lines_of_a_page_are_noted(tmp_path):
    lines = "".join(f"<p>{PARAGRAPHS[0]}{number}</p>\n" for number in range(60))
    good = f"<html><body>\n{lines}<p>".encode("cp950")
    (tmp_path / "a.html").write_bytes(good + b"\xff\xff</p>\n")
    rows, [note] = read(tmp_path / "a.html")
    assert note.endswith(f"left out line 62, byte {len(good)} (0xff): not Big5 (cp950).")
    assert not rows[0].reason


def test_a_page_of_too_many_tags_is_rejected(tmp_path):
    (tmp_path / "a.html").write_bytes(b"<" * 300_001)
    [row], _ = read(tmp_path / "a.html")
    assert row.reason == "unreadable: a page of over 300,000 tags"


@pytest.mark.parametrize(
    "said", ["undefined", "rot13", "punycode", "unicode_escape", "no-such", "utf-16", "euc-kr", "gb2312", "latin1"]
)
def test_a_page_may_say_any_encoding(said):
    assert PARAGRAPHS[0] in text_of_html(document_files.html("cp950", said))


def test_a_page_in_an_encoding_that_it_alone_knows():
    russian = "Все люди рождаются свободными и равными в своем достоинстве и правах. " * 5
    page = f'<html><head><meta charset="windows-1251"></head><body><p>{russian}</p></body></html>'
    assert text_of_html(page.encode("cp1251")) == russian.strip()
    short = '<html><head><meta charset="gb2312"></head><body><p>罕僻</p></body></html>'
    assert text_of_html(short.encode("gb2312")) == "罕僻"


def test_a_page_in_no_encoding_is_rejected(tmp_path):
    (tmp_path / "a.html").write_bytes(b"<p>" + random.Random(0).randbytes(400))
    [row], _ = read(tmp_path / "a.html")
    assert row.reason.startswith("unreadable: ") and "is not UTF-8" in row.reason


def test_word(tmp_path):
    assert text_of(document_files.docx(tmp_path / "a.docx")).split("\n") == [
        "第一章 總綱",
        PARAGRAPHS[0],
        "項目 | 數量 | 備註",
        "紙張 | 3 包",
        PARAGRAPHS[1],
        "",
        "第二章",
        "要點一",
    ]


def test_word_with_tracked_changes_and_content_controls(tmp_path):
    import docx
    from lxml import etree

    space = 'xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main"'
    document = docx.Document()
    for block in (
        "<w:p><w:r><w:t>原文</w:t></w:r><w:ins><w:r><w:t>加上的</w:t></w:r></w:ins>"
        "<w:del><w:r><w:delText>刪去的</w:delText></w:r></w:del></w:p>",
        "<w:sdt><w:sdtContent><w:p><w:r><w:t>控制項裡的</w:t><w:br/><w:t>下一行</w:t></w:r></w:p></w:sdtContent></w:sdt>",
    ):
        element = etree.fromstring(f"<w:x {space}>{block}</w:x>")[0]
        document.element.body.insert(-1, docx.oxml.parse_xml(etree.tostring(element)))
    document.save(tmp_path / "a.docx")
    assert text_of(tmp_path / "a.docx") == "原文加上的\n控制項裡的\n下一行"


def test_slides(tmp_path):
    expected = "年度報告\n第一點\n第二點\n先說明去年的情形。\n\n數字\n季 | 件數\n一 | 120"
    assert text_of(document_files.pptx(tmp_path / "a.pptx")) == expected


def test_a_workbook_is_documents_or_rows(tmp_path):
    sheets = {
        "清單": [["姓名", "數量", None], ["甲", 3, 1.0], [None, None, None], ["乙", 2.5, datetime(2024, 5, 1)]],
        "資料": [["text", "year"], ["一份文件", 2001], [None, None], ["另一份", None]],
        "空": [],
    }
    rows, _ = read(document_files.xlsx(tmp_path / "a.xlsx", sheets))
    assert [(row.id, row.text, row.year) for row in rows] == [
        ("a.xlsx#清單", "姓名 | 數量\n甲 | 3 | 1\n乙 | 2.5 | 2024-05-01", None),
        ("a.xlsx#資料:2", "一份文件", 2001),
        ("a.xlsx#資料:4", "另一份", None),
    ]


def test_a_book_in_the_order_of_its_spine(tmp_path):
    pages = {
        "c2": "<h1>第一回</h1><p>話說<ruby>天下<rt>ㄊㄧㄢ</rt></ruby>大勢，\n分久必合。</p>"
        "<p>換行<br/>之後 <b>粗</b>體</p>",
        "c1": "<div><p>第二回</p>甲<span>乙</span>丙</div><script>不該出現</script>",
    }
    text = text_of(document_files.epub(tmp_path / "a.epub", pages))
    assert text == "一本書\n\n第一回\n話說天下大勢，分久必合。\n換行\n之後 粗體\n\n第二回\n甲乙丙"


@pytest.mark.parametrize("algorithm, is_read", [("http://www.idpf.org/2008/embedding", True), ("aes128-cbc", False)])
def test_books_with_hidden_fonts_are_read_and_locked_ones_not(tmp_path, algorithm, is_read):
    path = document_files.epub(tmp_path / "a.epub", {"c1": "<p>一段文字</p>"})
    with zipfile.ZipFile(path, "a") as book:
        book.writestr("META-INF/encryption.xml", f'<e><enc:EncryptionMethod Algorithm="{algorithm}"/></e>')
    [row], _ = read(path)
    assert row.reason == ("" if is_read else "unreadable: encrypted (its rights are managed)")


@pytest.mark.parametrize("encoding", ["utf-8", "cp950", "utf-16"])
def test_subtitles_are_what_is_said(tmp_path, encoding):
    (tmp_path / "a.srt").write_bytes(document_files.SRT.encode(encoding))
    expected = "大家好，　歡迎收看今天的節目。\n- 你要去哪裡？\n- 我要去臺北。\n\nHello there, my friend."
    assert text_of(tmp_path / "a.srt") == expected
    (tmp_path / "a.vtt").write_text("WEBVTT\n\n00:01.000 --> 00:02.000\n<c.yellow>你好</c>\n", encoding="utf-8")
    assert text_of(tmp_path / "a.vtt") == "你好"


@pytest.mark.parametrize("name", ["a.docx", "a.pptx", "a.xlsx", "a.epub"])
def test_zips_that_are_no_documents(tmp_path, name):
    path = tmp_path / name

    def reason():
        [row], _ = read(path)
        return row.reason

    path.write_bytes(b"no zip at all")
    assert reason() == "unreadable: File is not a zip file"
    path.write_bytes(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(100))
    assert reason().startswith(
        "unreadable: " + ("File is not" if name == "a.epub" else "encrypted with a password, or in")
    )
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("bomb.xml", bytes(80 * 2**20))
    assert reason() == "unreadable: unpacks to 80 MiB, over 200 times its size"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("other.txt", "")
    assert reason().startswith("unreadable: ")


def test_entities_are_not_unfolded(tmp_path):
    """An XML bomb: each entity names the one before ten times."""
    names = "".join(f'<!ENTITY e{n} "{f"&e{n - 1};" * 10}">' for n in range(1, 10))
    source = document_files.epub(tmp_path / "a.epub", {"c": "<p>好</p>"})
    with zipfile.ZipFile(source) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    title = members["OEBPS/content.opf"].replace(b"</dc:title>", b"&e9;</dc:title>")
    members["OEBPS/content.opf"] = f'<!DOCTYPE package [<!ENTITY e0 "哈">{names}]>'.encode() + title
    with zipfile.ZipFile(source, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    rows, _ = read(source)
    assert all(len(row.text) < 1000 for row in rows)


@pytest.mark.parametrize(
    "name, module",
    [("a.html", "trafilatura"), ("a.docx", "docx"), ("a.pptx", "pptx"), ("a.xlsx", "openpyxl"), ("a.srt", "pysubs2")],
)
def test_a_missing_library_stops_the_run_with_its_install_line(tmp_path, monkeypatch, name, module):
    monkeypatch.setitem(sys.modules, module, None)
    (tmp_path / name).write_bytes(b"<p>x</p>")
    with pytest.raises(HanlinError) as caught:
        read(tmp_path / name)
    assert caught.value.do == 'pip install "hanlin[documents]"'


def samples(folder):
    yield document_files.docx(folder / "a.docx")
    yield document_files.pptx(folder / "a.pptx")
    yield document_files.xlsx(folder / "a.xlsx", {"一": [["text"], ["文件"]], "二": [["甲", 1]]})
    yield document_files.epub(folder / "a.epub", {"c1": "<p>好</p>"})
    yield document_files.pdf(folder / "a.pdf", [[PARAGRAPHS[0][:20]], ["二"]])
    for name, data in (("a.html", document_files.html("cp950", "big5")), ("a.srt", document_files.SRT.encode())):
        (folder / name).write_bytes(data)
        yield folder / name


def damaged(data: bytes, chance: random.Random) -> bytes:
    """Bytes changed, cut off, left out or doubled."""
    data = bytearray(data)
    for _ in range(chance.choice((1, 3, 20))):
        place = chance.randrange(len(data))
        data[place] = chance.choice((0, 255, data[place] ^ (1 << chance.randrange(8)), chance.randrange(256)))
    start, end = sorted(chance.randrange(len(data)) for _ in range(2))
    return bytes(chance.choice((data, data, data[:end], data[:start] + data[end:], data[:end] + data[start:])))


@pytest.mark.parametrize("place", range(7), ids=["docx", "pptx", "xlsx", "epub", "pdf", "html", "srt"])
def test_damaged_files_never_raise_another_error(tmp_path, place):
    path = list(samples(tmp_path))[place]
    whole, chance = path.read_bytes(), random.Random(place)
    for _ in range(40):
        path.write_bytes(damaged(whole, chance))
        for row in read(path, bad="skip")[0]:
            assert row.reason or row.text
            row.text.encode("utf-8", "surrogatepass")


@pytest.mark.parametrize("place", range(4), ids=["docx", "pptx", "xlsx", "epub"])
def test_damaged_members_never_raise_another_error(tmp_path, place):
    """Behind a sound zip: its checksums would catch most damage otherwise."""
    path = list(samples(tmp_path))[place]
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    chance = random.Random(place)
    wanted = [name for name, data in members.items() if name.endswith((".xml", ".rels", ".opf", ".xhtml")) and data]
    for _ in range(40):
        changed = chance.choice(wanted)
        with zipfile.ZipFile(path, "w") as archive:
            for name, data in members.items():
                archive.writestr(name, damaged(data, chance) if name == changed else data)
        for row in read(path, bad="skip")[0]:
            assert row.reason or row.text or row.messages
