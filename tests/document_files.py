"""Documents as people have them, made anew: PDFs good, garbled, scanned and locked; Office files; pages; books."""

from __future__ import annotations

import random
import re
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


def wrapped(text: str, columns: int = 28) -> list[str]:
    """As a page shows a paragraph: two blanks' indent, lines of equal width."""
    text = "　　" + text
    return [text[start : start + columns] for start in range(0, len(text), columns)]


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
