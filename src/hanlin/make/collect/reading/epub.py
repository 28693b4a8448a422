"""EPUB books: a zip of XHTML pages, read in the order of the book's spine (EPUB 3.3, § 5.7: container.xml names the
package document, its manifest the files, its spine their order)."""

from __future__ import annotations

import posixpath
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from hanlin.core.run.errors import HanlinError
from hanlin.core.text.documents import Row
from hanlin.make.collect.reading.html import LINE_END_IN_CHINESE, decoded
from hanlin.make.collect.reading.parsers import needs, open_zip, parsing
from hanlin.make.collect.reading.reader import Reading
from hanlin.make.collect.reading.unpacking import Broken

SUFFIXES = (".epub",)

_CONTAINER, _ENCRYPTION = "META-INF/container.xml", "META-INF/encryption.xml"
_FONT_ALGORITHMS = {b"http://www.idpf.org/2008/embedding", b"http://ns.adobe.com/pdf/enc#RC"}
_BLOCKS = (
    "p",
    "h1",
    "h2",
    "h3",
    "h4",
    "h5",
    "h6",
    "li",
    "dt",
    "dd",
    "blockquote",
    "pre",
    "figcaption",
    "tr",
    "div",
    "section",
    "body",
)
_LEFT_OUT = ("script", "style", "nav", "rt", "rp", "template", "head")
"""rt, rp: the reading over a word, which is no part of the text."""


def read(path: Path, name: str, reading: Reading) -> Iterator[Row]:
    """One document: the book's title, and its pages."""
    needs("lxml.html", "documents", "EPUB books")
    try:
        with open_zip(path) as archive, parsing():
            if _ENCRYPTION in archive.namelist() and _is_locked(archive.read(_ENCRYPTION)):
                raise Broken("encrypted (its rights are managed)")
            text = _book(archive, name, reading)
    except Broken as error:
        yield reading.unreadable(name, str(error))
        return
    if text:
        yield from reading.documents(name, text, type="book")
    else:
        yield reading.unreadable(name, "no text on any page")


def _is_locked(encryption: bytes) -> bool:
    """Whether more than fonts is encrypted: those two ways keep fonts from being taken out, and hide no text."""
    return not set(re.findall(rb"""EncryptionMethod[^>]*Algorithm=["']([^"']+)""", encryption)) <= _FONT_ALGORITHMS


def _book(archive: zipfile.ZipFile, name: str, reading: Reading) -> str:
    package = _xml(archive.read(_CONTAINER)).find(".//{*}rootfile").get("full-path")
    tree = _xml(archive.read(package))
    files = {
        item.get("id"): posixpath.normpath(posixpath.join(posixpath.dirname(package), unquote(item.get("href", ""))))
        for item in tree.iterfind(".//{*}manifest/{*}item")
        if "nav" not in item.get("properties", "").split()
    }
    pages = []
    for place in tree.iterfind(".//{*}spine/{*}itemref"):
        file = files.get(place.get("idref"))
        if file is None or place.get("linear") == "no":
            continue
        try:
            with parsing():
                pages.append(page_text(archive.read(file)))
        except (Broken, HanlinError) as error:
            reading.note(f"{name}: left out {file} ({error.what if isinstance(error, HanlinError) else error}).")
    title = tree.findtext(".//{http://purl.org/dc/elements/1.1/}title") or ""
    text = "\n\n".join(page for page in pages if page)
    return text if not title.strip() or text.startswith(title.strip()) or not text else f"{title.strip()}\n\n{text}"


def page_text(data: bytes) -> str:
    """All text of a page, a block a line. A book has no menus to leave out, so nothing is guessed."""
    from lxml import html

    markup = decoded(data)
    # lxml refuses text that still says which bytes it was.
    tree = html.fromstring(markup.partition("?>")[2] if markup.lstrip()[:5] == "<?xml" else markup)
    lines: list[str] = []
    _collect(tree, lines)
    return "\n".join(line for line in (" ".join(line.split()) for line in "".join(lines).split("\n")) if line)


def _collect(root: Any, parts: list[str]) -> None:
    """Depth first, without recursion: pages may be nested as deep as they like."""
    todo: list[Any] = [root]
    while todo:
        node = todo.pop()
        if isinstance(node, str):
            parts.append(node)
            continue
        after = [] if node.tail is None or node is root else [_inline(node.tail)]
        is_tag = isinstance(node.tag, str)
        if not is_tag or node.tag in _LEFT_OUT:
            parts += after
            continue
        block = node.tag in _BLOCKS
        if block or node.tag == "br":
            parts.append("\n")
        if node.text:
            parts.append(_inline(node.text))
        todo += reversed([*node, *(["\n"] if block else []), *(["  "] if node.tag in ("td", "th") else []), *after])


def _inline(text: str) -> str:
    """Line ends in the source are blanks, and nothing between Han characters."""
    return re.sub(r"[ \t]*\r?\n[ \t]*", " ", LINE_END_IN_CHINESE.sub("", text))


def _xml(data: bytes) -> Any:
    from lxml import etree

    return etree.fromstring(data, etree.XMLParser(resolve_entities=False, no_network=True, huge_tree=False))
