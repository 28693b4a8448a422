"""PDF files: text where it is sane, OCR or a rejected page where it is not."""

from __future__ import annotations

import document_files
import opencc
import pytest
from document_files import PARAGRAPHS, wrapped

from hanlin.core.run.errors import HanlinError
from hanlin.make.collect.config import Collect
from hanlin.make.collect.reading import ocr, pdf
from hanlin.make.collect.reading.pdf_layout import paragraphs, without_running_lines
from hanlin.make.collect.reading.pdf_sanity import agreement, sanity
from hanlin.make.collect.reading.reader import Reading

PAGES = [wrapped(PARAGRAPHS[0]) + wrapped(PARAGRAPHS[1]), wrapped(PARAGRAPHS[2]), ["一、短的一項", "二、另一項"]]

needs_font = pytest.mark.skipif(not document_files.FONT.exists(), reason="no Chinese font to draw pages with")


def read(path, **options):
    reading = Reading(Collect(pdf={"ocr": "never", **options}))
    return list(pdf.read(path, path.name, reading)), reading.notes


def test_paragraphs_are_whole_and_running_lines_gone(tmp_path):
    [row], notes = read(document_files.pdf(tmp_path / "a.pdf", PAGES, header="某某年報 2024"))
    text = row.text.replace("　", "")
    assert text == "\n".join([*PARAGRAPHS[:3], "一、短的一項", "二、另一項"])
    assert row.notes == {"pdf": {"pages": 3}} and not notes
    [row], _ = read(tmp_path / "a.pdf", running_lines="keep")
    assert row.text.count("某某年報 2024") == 3 and "第 2 頁" in row.text


def test_pages_apart(tmp_path):
    rows, _ = read(document_files.pdf(tmp_path / "a.pdf", PAGES), pages="apart")
    assert [row.id for row in rows] == ["a.pdf#p1", "a.pdf#p2", "a.pdf#p3"]
    assert {row.group for row in rows} == {"a.pdf"}


@needs_font
def test_garbled_pages_and_pictures_are_set_aside_one_by_one(tmp_path):
    rows, notes = read(document_files.garbled_pdf(tmp_path / "a.pdf", PAGES[:2]))
    assert [row.id for row in rows] == ["a.pdf#p1", "a.pdf#p2"]
    assert all(row.reason.startswith("garbled page: page") and row.text for row in rows)
    assert notes == ["a.pdf: set aside 2 of 2 pages (1, 2)."]
    [row], _ = read(document_files.scanned_pdf(tmp_path / "b.pdf", PAGES[2:]))
    assert (row.id, row.reason) == ("b.pdf#p1", "page without text: page 1 is a picture")


@needs_font
def test_a_short_page_among_garbled_ones_is_not_believed(tmp_path):
    path = document_files.garbled_pdf(tmp_path / "a.pdf", [["某某年報"], *PAGES[:2]])
    rows, _ = read(path)
    assert rows[0].reason == "garbled page: page 1, too short to tell, and most pages are garbled"
    assert len(rows) == 3


@pytest.mark.parametrize(
    "second, chosen, reason",
    [
        (PARAGRAPHS[1], "", "two engines read different characters"),
        ("".join(PARAGRAPHS[:2]), "".join(PARAGRAPHS[:2]), ""),
        ("", "".join(PARAGRAPHS[:2]), ""),
    ],
)
def test_two_readings_of_a_page_are_compared(tmp_path, monkeypatch, second, chosen, reason):
    monkeypatch.setattr(pdf._Second, "text", lambda self, index: second)
    path = document_files.pdf(tmp_path / "a.pdf", [wrapped(PARAGRAPHS[0]) if reason else PAGES[0]])
    [row], _ = read(path)
    assert reason in row.reason and bool(reason) == bool(row.reason)
    assert reason or row.text.replace("　", "").replace("\n", "") == chosen


@needs_font
def test_good_and_garbled_pages_in_one_file(tmp_path):
    import pypdf

    both = pypdf.PdfWriter(clone_from=document_files.pdf(tmp_path / "good.pdf", PAGES[:1]))
    both.append(document_files.garbled_pdf(tmp_path / "bad.pdf", PAGES[1:2]))
    both.write(tmp_path / "both.pdf")
    good, bad = read(tmp_path / "both.pdf")[0]
    assert good.notes == {"pdf": {"pages": 2, "set aside": 1}} and not good.reason
    assert bad.id == "both.pdf#p2" and bad.reason


@pytest.mark.skipif(not ocr.is_installed(), reason="the extra ocr is not installed")
@needs_font
def test_ocr_reads_what_engines_cannot(tmp_path):
    lines = ["人民身體之自由應予保障。", "中華民國之主權屬於國民全體。"]
    [row], _ = read(
        document_files.garbled_pdf(tmp_path / "a.pdf", [[line + lines[0] for line in lines]]), ocr="auto", ocr_dpi=100
    )
    assert row.text.replace("\n", "") == "".join(line + lines[0] for line in lines)
    assert row.notes == {"pdf": {"pages": 1, "recognised": 1}}


@pytest.mark.parametrize(
    "make, why",
    [
        (lambda path: document_files.locked_pdf(path, PAGES, "secret"), "encrypted with a password"),
        (lambda path: path.write_bytes(b""), "Failed to load"),
        (lambda path: path.write_bytes(b"%PDF-1.7\n" + b"\x00" * 1000), "Failed to load"),
        (lambda path: document_files.pdf(path, [[], []]), "no text on any page"),
    ],
)
def test_what_cannot_be_read_says_why(tmp_path, make, why):
    make(tmp_path / "a.pdf")
    [row], _ = read(tmp_path / "a.pdf")
    assert row.reason.startswith(f"unreadable: {why}")


def test_a_file_without_a_password_to_open_is_read(tmp_path):
    [row], _ = read(document_files.locked_pdf(tmp_path / "a.pdf", PAGES[:1], ""))
    assert not row.reason and PARAGRAPHS[1] in row.text


def test_too_many_pages(tmp_path, monkeypatch):
    monkeypatch.setattr(pdf, "MAX_PAGES", 2)
    [row], _ = read(document_files.pdf(tmp_path / "a.pdf", PAGES))
    assert row.reason == "unreadable: 3 pages; 2 are the most that are read"


def test_a_missing_library_stops_the_run_with_its_install_line(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "pypdfium2", None)
    with pytest.raises(HanlinError) as caught:
        read(document_files.pdf(tmp_path / "a.pdf", PAGES))
    assert caught.value.do == 'pip install "hanlin[documents]"'


SANE = [
    "".join(PARAGRAPHS[:3]),
    opencc.OpenCC("t2s").convert("".join(PARAGRAPHS[:3])),
    PARAGRAPHS[3] * 2,
    "第 3 頁 共 12 頁",
]


@pytest.mark.parametrize("text", SANE)
def test_text_is_sane(text):
    assert sanity(text).score > 0.9


@pytest.mark.parametrize(
    "garble, why",
    [
        (lambda text: "".join(chr(ord(c) + 1) if c > "㐀" else c for c in text), "characters that make no words"),
        (lambda text: text.encode().decode("latin-1"), ""),
        (lambda text: text.encode("cp950").decode("latin-1"), "bytes spelled out as letters"),
        (lambda text: "".join(f"(cid:{ord(c)})" for c in text), "unreadable characters"),
        (lambda text: "".join(chr(0xE000 + ord(c) % 4000) for c in text), "unreadable characters"),
        (lambda text: "\n".join(text), "characters one by one"),
        (lambda text: '!"#$%&*^~|<>' * 20, "few letters among signs"),
        (
            lambda text: "".join(chr((ord(c) - 94) % 26 + 97) if c.isalpha() else c for c in PARAGRAPHS[3].lower() * 2),
            "",
        ),
        (lambda text: " ", "no text"),
    ],
)
def test_garbage_is_not(garble, why):
    found = sanity(garble(SANE[0]))
    assert found.score < 0.5 and (not why or found.why == why), found


def test_agreement_is_of_characters():
    assert agreement("甲乙", "乙 甲") == agreement("", "") == 1
    assert agreement("甲乙", "丙丁") == 0


def test_running_lines_are_known_by_many_pages():
    pages = [["年報", f"內文{name}", f"- {number} -"] for number, name in enumerate("甲乙丙丁", start=9)]
    assert without_running_lines(pages) == [[f"內文{name}"] for name in "甲乙丙丁"]
    assert without_running_lines(pages[:2]) == pages[:2]
    texts = [f"內文{chr(0x4E00 + number)}" for number in range(40)]
    chapters = [[f"第{number // 4}章 某某  {number + 7}", text] for number, text in enumerate(texts)]
    assert without_running_lines(chapters) == [[text] for text in texts]
    numbered = [
        [f"{number} 標題{text}", text, str(number)] if number != 9 else ["新的一章", text, "9"]
        for number, text in enumerate(texts)
    ]
    assert without_running_lines(numbered)[9] == ["新的一章", texts[9]]
    middle = [["頭", "甲", "乙", "丙", "年報", "丁", "戊", "己", str(n)] for n in range(4)]
    assert all("年報" in page for page in without_running_lines(middle))


def test_lines_are_joined_as_their_script_asks():
    width = ["這是一行寫到頁面右邊的文字它還沒有結束", "所以接下去。", "新的一段落。"]
    assert paragraphs([width]) == "這是一行寫到頁面右邊的文字它還沒有結束所以接下去。\n新的一段落。"
    english = ["This line is as wide as the page and", "goes on here with another hyphen-", "ated word."]
    assert paragraphs([english]) == "This line is as wide as the page and goes on here with another hyphen-\nated word."
    assert paragraphs([["這是一行寫到頁面右邊的文字它還沒有結束"], ["就到了下一頁。"]]).count("\n") == 0
    assert paragraphs([["第一段結束了。", "", "", "第二段"]]) == "第一段結束了。\n\n第二段"
    numbered = ["The line fills the width of its page.", "2.5 Another heading"]
    assert paragraphs([numbered]) == "\n".join(numbered)
    items = ["一、這一項寫到了頁面右邊的盡頭沒有句點", "二、下一項"]
    assert paragraphs([items]) == "\n".join(items)
