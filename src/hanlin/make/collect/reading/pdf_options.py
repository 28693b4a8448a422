"""Options of the PDF reader: `pdf.least_sanity=0.8`."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from hanlin.core.run.config import Config


class Pdf(Config):
    """How PDF files are read: which pages are good enough, what happens to the others, and how pages become text."""

    least_sanity: float = Field(
        0.7,
        ge=0,
        le=1,
        description="how sane a page's text must be, from 0 (garbage) to 1; pages below go to OCR or are set aside",
    )
    ocr: Literal["auto", "never", "always"] = Field(
        "auto",
        description="auto: pages without sane text are recognised where the extra `ocr` is installed, and set aside "
        "where it is not; never; always: every page is recognised, whatever text it has",
    )
    ocr_dpi: int = Field(200, ge=72, le=600, description="dots per inch at which pages are drawn for OCR")
    least_confidence: float = Field(
        0.75, ge=0, le=1, description="mean confidence that OCR must have in a page's lines, from 0 to 1"
    )
    pages: Literal["joined", "apart"] = Field(
        "joined", description="joined: a file is one document; apart: each page is one"
    )
    running_lines: Literal["drop", "keep"] = Field(
        "drop", description="headers, footers and page numbers, known by standing on many pages"
    )
