"""A page that people open in a browser: one file, its style inside, nothing fetched, light and dark.

What was not written here (texts of rows, of models, names of files) has to be escaped by who puts it in.
"""

from __future__ import annotations

from collections.abc import Iterable
from html import escape
from pathlib import Path

POLICY = "default-src 'none'; style-src 'unsafe-inline'"
"""Nothing is fetched and no script runs, whatever a text that was not escaped should say."""


def document(title: str, parts: Iterable[str], style: str = "") -> str:
    """The whole page. parts: HTML, empty ones are left out. style: CSS after that of all pages."""
    css = (Path(__file__).parent / "page.css").read_text(encoding="utf-8") + style
    return (
        '<!doctype html>\n<html lang="zh-Hant-TW">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">\n'
        f"<title>{escape(title)}</title>\n<style>\n{css}</style>\n</head>\n<body>\n<main>\n"
        + "\n".join(filter(None, parts))
        + "\n</main>\n</body>\n</html>\n"
    )


def section(title: str, body: str) -> str:
    """A part of a page with its heading (HTML, both); "" where there is nothing to say."""
    return f"<section>\n<h2>{title}</h2>\n{body}\n</section>" if body else ""
