"""Documents as people have them, made anew: PDFs good, garbled, scanned and locked; Office files; pages; books."""

from __future__ import annotations

import random
import re
import zipfile
from pathlib import Path

PARAGRAPHS = (
    "中華民國國民大會受全體國民之付託，依據孫中山先生創立中華民國之遺教，為鞏固國權，保障民權，奠定社會安寧，增進人民福利，制定本憲法，頒行全國，永矢咸遵。",
    "人民身體之自由應予保障。除現行犯之逮捕由法律另定外，非經司法或警察機關依法定程序，不得逮捕拘禁。非由法院依法定程序，不得審問處罰。",
    "人民因犯罪嫌疑被逮捕拘禁時，其逮捕拘禁機關應將逮捕拘禁原因，以書面告知本人及其本人指定之親友，並至遲於二十四小時內移送該管法院審問。",
    "The quick brown fox jumps over the lazy dog while the river runs quietly past the old town and its people sleep.",
)
FONT = Path("/usr/share/fonts/truetype/wqy/wqy-microhei.ttc")
WIDTH, HEIGHT = 420, 595


def pdf(path: Path, pages: list[list[str]], header: str = "", embedded: bool = False, **options) -> Path:
    """Pages of lines. embedded: with a font of its own, so that the page can also be drawn."""
    from reportlab.pdfbase import pdfmetrics
    from reportlab.pdfbase.cidfonts import UnicodeCIDFont
    from reportlab.pdfbase.ttfonts import TTFont
    from reportlab.pdfgen.canvas import Canvas

    font = "Embedded" if embedded else "MSung-Light"
    pdfmetrics.registerFont(TTFont(font, str(FONT)) if embedded else UnicodeCIDFont(font))
    canvas = Canvas(str(path), pagesize=(WIDTH, HEIGHT), invariant=1, **options)
    for number, lines in enumerate(pages, start=1):
        canvas.setFont(font, 12)
        if header:
            canvas.drawString(40, HEIGHT - 30, header)
            canvas.drawCentredString(WIDTH / 2, 25, f"第 {number} 頁")
        for place, line in enumerate(lines):
            canvas.drawString(40, HEIGHT - 60 - 20 * place, line)
        canvas.showPage()
    canvas.save()
    return path


def wrapped(text: str, columns: int = 56) -> list[str]:
    """As a page shows a paragraph: an indent, lines of equal width. columns: of half width; Han take two."""
    lines, width = ["　　"], 4
    for character in text:
        width += 1 if character.isascii() else 2
        if width > columns:
            lines.append("")
            width = 1 if character.isascii() else 2
        lines[-1] += character
    return lines


def garbled_pdf(path: Path, pages: list[list[str]]) -> Path:
    """The same pages with a broken ToUnicode table: they look right, and every engine reads other characters."""
    import pypdf

    pdf(path, pages, embedded=True)
    writer = pypdf.PdfWriter(clone_from=path)
    chance = random.Random(0)
    for page in writer.pages:
        for font in page["/Resources"]["/Font"].values():
            if "/ToUnicode" in (font := font.get_object()):
                table = font["/ToUnicode"].get_object()
                data = re.sub(
                    rb"(<[0-9A-Fa-f]+> )<([0-9A-Fa-f]{4})>",
                    lambda match: match[1] + b"<%04X>" % chance.randrange(0x4E00, 0x9F00),
                    table.get_data(),
                )
                data = re.sub(
                    rb"^<([0-9A-Fa-f]{4})>$", lambda m: b"<%04X>" % chance.randrange(0x4E00, 0x9F00), data, flags=re.M
                )
                table.set_data(data)
    writer.write(path)
    return path


def scanned_pdf(path: Path, pages: list[list[str]]) -> Path:
    """Pictures of the pages, without text."""
    import pypdfium2
    from reportlab.lib.utils import ImageReader
    from reportlab.pdfgen.canvas import Canvas

    source = pypdfium2.PdfDocument(pdf(path.with_suffix(".source.pdf"), pages, embedded=True))
    canvas = Canvas(str(path), pagesize=(WIDTH, HEIGHT), invariant=1)
    for page in source:
        canvas.drawImage(ImageReader(page.render(scale=2).to_pil()), 0, 0, WIDTH, HEIGHT)
        canvas.showPage()
    canvas.save()
    source.close()
    path.with_suffix(".source.pdf").unlink()
    return path


def locked_pdf(path: Path, pages: list[list[str]], password: str) -> Path:
    from reportlab.lib.pdfencrypt import StandardEncryption

    return pdf(path, pages, encrypt=StandardEncryption(password, ownerPassword="owner"))


def html(encoding: str, meta: str = "") -> bytes:
    """An article between a menu, a sidebar and a footer, as a news site has it."""
    said = meta and f'<meta http-equiv="Content-Type" content="text/html; charset={meta}">'
    menu = "".join(
        f'<li><a href="/{name}">{name}</a></li>' for name in ("首頁", "政治", "社會", "生活", "國際", "登入")
    )
    article = "".join(f"<p>{paragraph}</p>" for paragraph in PARAGRAPHS[:3])
    return f"""<!DOCTYPE html><html lang="zh-Hant"><head>{said}<title>憲法與人民的權利 | 某某新聞網</title>
<script>var tracking = "不該出現";</script><style>.menu {{ color: red }}</style></head><body>
<header><nav class="menu"><ul>{menu}</ul></nav></header>
<main><article><h1>憲法與人民的權利</h1>{article}
<table><tr><th>年度</th><th>件數</th></tr><tr><td>2023</td><td>120</td></tr></table></article></main>
<aside><h3>熱門新聞</h3><ul><li><a href="/1">點閱最多的一則</a></li></ul></aside>
<footer>Copyright &copy; 某某新聞網 版權所有 隱私權政策 聯絡我們</footer></body></html>""".encode(encoding)


def docx(path: Path) -> Path:
    import docx as library

    document = library.Document()
    document.add_heading("第一章 總綱", level=1)
    document.add_paragraph(PARAGRAPHS[0])
    table = document.add_table(rows=2, cols=3)
    for place, cell in enumerate(("項目", "數量", "備註", "紙張", "3 包", "")):
        table.cell(place // 3, place % 3).text = cell
    document.add_paragraph(PARAGRAPHS[1])
    document.add_heading("第二章", level=2)
    document.add_paragraph("要點一", style="List Bullet")
    document.save(str(path))
    return path


def pptx(path: Path) -> Path:
    import pptx as library
    from pptx.util import Inches

    deck = library.Presentation()
    slide = deck.slides.add_slide(deck.slide_layouts[1])
    slide.shapes.title.text = "年度報告"
    slide.placeholders[1].text = "第一點\n第二點"
    slide.notes_slide.notes_text_frame.text = "先說明去年的情形。"
    slide = deck.slides.add_slide(deck.slide_layouts[5])
    slide.shapes.title.text = "數字"
    table = slide.shapes.add_table(2, 2, Inches(1), Inches(2), Inches(4), Inches(1)).table
    for place, cell in enumerate(("季", "件數", "一", "120")):
        table.cell(place // 2, place % 2).text = cell
    deck.save(str(path))
    return path


def xlsx(path: Path, sheets: dict[str, list[list[object]]]) -> Path:
    import openpyxl

    book = openpyxl.Workbook()
    book.remove(book.active)
    for title, rows in sheets.items():
        sheet = book.create_sheet(title)
        for row in rows:
            sheet.append(row)
    book.save(path)
    return path


def epub(path: Path, pages: dict[str, str], title: str = "一本書") -> Path:
    """Pages by name, in the order of the spine."""
    manifest = "".join(
        f'<item id="{n}" href="text/{n}.xhtml" media-type="application/xhtml+xml"/>' for n in sorted(pages)
    )
    spine = "".join(f'<itemref idref="{name}"/>' for name in pages)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as book:
        book.writestr("mimetype", "application/epub+zip", zipfile.ZIP_STORED)
        book.writestr(
            "META-INF/container.xml",
            '<container xmlns="urn:oasis:names:tc:opendocument:xmlns:container" version="1.0"><rootfiles>'
            '<rootfile full-path="OEBPS/content.opf"/></rootfiles></container>',
        )
        book.writestr(
            "OEBPS/content.opf",
            '<package xmlns="http://www.idpf.org/2007/opf" xmlns:dc="http://purl.org/dc/elements/1.1/">'
            f"<metadata><dc:title>{title}</dc:title></metadata><manifest>{manifest}"
            '<item id="nav" href="nav.xhtml" properties="nav" media-type="application/xhtml+xml"/></manifest>'
            f'<spine><itemref idref="nav"/>{spine}</spine></package>',
        )
        for name, body in pages.items():
            book.writestr(
                f"OEBPS/text/{name}.xhtml",
                f'<?xml version="1.0" encoding="utf-8"?>\n<html xmlns="http://www.w3.org/1999/xhtml"><head><title>{name}'
                f"</title></head><body>{body}</body></html>",
            )
    return path


SRT = """1
00:00:01,000 --> 00:00:03,500
<i>大家好，</i>
歡迎收看今天的節目。

2
00:00:04,000 --> 00:00:06,000
{\\an8}- 你要去哪裡？
- 我要去臺北。

3
00:00:20,000 --> 00:00:22,000
Hello there,
my friend.

4
00:00:22,000 --> 00:00:24,000
Hello there,
my friend.
"""
