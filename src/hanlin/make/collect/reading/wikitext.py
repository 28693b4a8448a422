"""Wikitext → plain text, as a reader of the page would copy it: without tables, templates, references and pictures.

The tree is mwparserfromhell's; here is decided what of it is text. Templates can't be expanded without the wiki; those
that only wrap text give it (lang, link-en, nowrap, …), all others are left out.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from typing import Any

from hanlin.make.collect.reading.wiki_variants import apply, resolve, rules_of

MAX_CHARS = 2**21
"""MediaWiki stores no page over 2 MiB."""
MAX_STEPS = 3 * 10**7
"""The parser looks for the end of all that is open: open places × characters. That many take one to two seconds."""

_DROPPED_SECTIONS = frozenset(
    """參考資料 参考资料 參考文獻 参考文献 註釋 注释 註解 注解 備註 备注 腳註 脚注 注 註
    外部連結 外部链接 外部連接 外部鏈接 相關連結 相关链接 延伸閱讀 延伸阅读
    參見 参见 參看 参看 相關條目 相关条目 來源 来源 資料來源 资料来源
    references notes external_links see_also further_reading bibliography sources""".split()  # noqa: SIM905
)
_DROPPED_TAGS = frozenset(
    """ref references table gallery timeline score imagemap graph mapframe maplink templatestyles hiero indicator
    style script inputbox categorytree section ce chem""".split()  # noqa: SIM905
)
_DROPPED_LINKS = re.compile(
    r"\s*(?:file|image|media|category|檔案|档案|文件|圖像|图像|圖片|图片|分類|分类|媒體|媒体|[a-z]{2,3}(?:-[a-z]+)*)\s*[:：]",
    re.IGNORECASE,
)
_SHOWN_PARAMETER = {
    **dict.fromkeys(("lang", "transl", "transliteration", "color", "colour", "語言", "lang-zh"), -1),
    **dict.fromkeys(
        ("link-en", "link-ja", "link-de", "link-fr", "link-ko", "link-ru", "link-es", "link-it", "le", "tsl"), 0
    ),
    **dict.fromkeys(("nowrap", "nobr", "small", "big", "smaller", "larger", "sub", "sup", "ruby", "abbr", "nobold"), 0),
    **dict.fromkeys(("quote", "cquote", "blockquote", "quotation", "zh", "bilink", "internal link helper"), 0),
    **dict.fromkeys(("lj", "lang-en", "lang-ja", "lang-ko", "lang-fr", "lang-de", "lang-la", "lang-es", "lang-ru"), 0),
}
"""Templates whose parameter is the text: 0 the first, −1 the last."""
_DISAMBIGUATION = re.compile(
    r"disambig.*|dab|hndis|geodis|消歧[義义].*|多[義义](?:頁|页)?|歧[義义]|letter-?numbercombdisambig|schooldis|人名消歧[義义]",
    re.IGNORECASE,
)
_UNREAD = re.compile(
    r"<ref\b[^<>]*/>|<(ref|gallery|timeline|score|templatestyles)\b[^<>]*(?<!/)>.*?</\1\s*>|<!--.*?-->",
    re.DOTALL | re.IGNORECASE,
)
"""Half of an article's markup is in its references: what is dropped anyway needs no parsing."""
_SWITCH = re.compile(r"__[A-Z]{3,20}__|__(?:目錄|目录|無目錄|无目录)__")
_QUOTES = re.compile("'{2,}")
_EMPTY_BRACKETS = re.compile(r"[（(][\s，、；：,;:]*[）)]")
_BRACKET_START = re.compile(r"([（(])[\s，、；：,;:]+")
_BRACKET_END = re.compile(r"[\s，、；,;]+([）)])")
_SPACES = re.compile(r"[ \t\u00a0]+")
_BLANK_LINES = re.compile(r"\n{3,}")
_OPENINGS = re.compile(r"\{\{|\}\}|\[\[|\]\]|<!--|-->|\{\||\|\}|\[|\]|\"|<(/?)([a-z]+)|>|\{|\}", re.IGNORECASE)
_CLOSES = {"}}": "{{", "]]": "[[", "-->": "<!--", "|}": "{|", "]": "[", ">": "<", "}": "{"}
_ALONE = frozenset(("br", "hr", "li", "dd", "dt", "tr", "td", "th", "p", "img", "wbr"))


class Unparsable(Exception):
    """Why a page is not parsed."""


@dataclass(frozen=True)
class Plain:
    """disambiguation: the page only says which pages its title may mean. conversions: wordings changed to Taiwan's."""

    text: str
    disambiguation: bool
    conversions: int


def plain_text(wikitext: str) -> Plain:
    """Raises Unparsable for markup that would take the parser minutes."""
    import mwparserfromhell

    if len(wikitext) > MAX_CHARS:
        raise Unparsable(f"over {MAX_CHARS:,} characters")
    if (open_places := _open_places(wikitext)) * len(wikitext) > MAX_STEPS:
        raise Unparsable(f"{open_places:,} places of markup are opened and never closed")
    resolved, rules = resolve(_UNREAD.sub("", wikitext))
    page = _Page()
    try:
        tree = mwparserfromhell.parse(resolved, skip_style_tags=True)
        text = _tidy(page.text_of(tree.nodes))
    except (mwparserfromhell.parser.ParserError, RecursionError) as error:
        raise Unparsable(f"its markup is nested too deep for the parser ({type(error).__name__})") from None
    text, conversions = apply(text, rules | page.rules)
    return Plain(text.strip(), page.disambiguation or "__DISAMBIG__" in wikitext, conversions)


class _Page:
    """What is met on the way through a page's tree."""

    def __init__(self) -> None:
        self.rules: dict[str, str] = {}
        self.disambiguation = False

    def text_of(self, nodes: list[Any]) -> str:
        """The text of a node list, without the sections that only list sources and links."""
        parts: list[str] = []
        skipped_level = 0
        for node in nodes:
            kind = type(node).__name__
            if kind == "Heading":
                title = self.text_of(node.title.nodes).strip()
                if skipped_level and node.level > skipped_level:
                    continue
                dropped = title.lower().replace(" ", "_") in _DROPPED_SECTIONS
                skipped_level = node.level if dropped else 0
                parts.append("" if dropped else f"\n\n{title}\n\n")
            elif not skipped_level:
                parts.append(self._text(kind, node))
            elif kind == "Template":
                self._template(node)  # it may say what page this is
        return "".join(parts)

    def _text(self, kind: str, node: Any) -> str:
        if kind == "Text":
            return str(node.value)
        if kind == "Wikilink":
            return self._link(node)
        if kind == "Tag":
            return self._tag(node)
        if kind == "Template":
            return self._template(node)
        if kind == "ExternalLink":
            return self.text_of(node.title.nodes) if node.title is not None else "" if node.brackets else str(node.url)
        if kind == "HTMLEntity":
            try:
                return node.normalize()
            except (ValueError, OverflowError):
                return ""
        return ""  # comments, and arguments of a template's own page

    def _link(self, node: Any) -> str:
        title = str(node.title)
        if _DROPPED_LINKS.match(title):
            return ""
        shown = node.text if node.text is not None else node.title
        return self.text_of(shown.nodes).removeprefix(":")

    def _tag(self, node: Any) -> str:
        name = str(node.tag).strip().lower()
        if name in _DROPPED_TAGS:
            return ""
        if node.wiki_markup:
            return {"li": "- ", "hr": "\n"}.get(name, "") if node.self_closing else self._contents(node)
        if name in ("br", "hr"):
            return "\n"
        if name == "math":
            return f"${str(node.contents).strip()}$"
        if name in ("nowiki", "pre", "syntaxhighlight", "source", "code"):
            return str(node.contents) if node.contents is not None else ""
        return self._contents(node)

    def _contents(self, node: Any) -> str:
        return self.text_of(node.contents.nodes) if node.contents is not None else ""

    def _template(self, node: Any) -> str:
        name = " ".join(str(node.name).replace("_", " ").split()).lower()
        if _DISAMBIGUATION.fullmatch(name):
            self.disambiguation = True
        elif name == "noteta":
            for parameter in node.params:
                if str(parameter.name).strip().isdecimal():
                    self.rules.update(rules_of(str(parameter.value).strip()))
        elif name in _SHOWN_PARAMETER:
            values = [p.value for p in node.params if str(p.name).strip().isdecimal()]
            if values:
                return self.text_of(values[_SHOWN_PARAMETER[name]].nodes).strip()
        return ""


def _tidy(text: str) -> str:
    text = _QUOTES.sub("", _SWITCH.sub("", text))
    text = _EMPTY_BRACKETS.sub("", text)
    text = _BRACKET_END.sub(r"\1", _BRACKET_START.sub(r"\1", text))
    lines = (_SPACES.sub(" ", line).strip() for line in text.split("\n"))
    return _BLANK_LINES.sub("\n\n", "\n".join("" if line == "-" else line for line in lines))


def _open_places(text: str) -> int:
    """How many places are opened and never closed, each kind for itself."""
    depth: Counter[str] = Counter()
    for match in _OPENINGS.finditer(text):
        token = match[0].lower()
        if match[2]:
            name = match[2].lower()
            depth["<"] += 1
            if name not in _ALONE:
                depth[name] = depth[name] + 1 if not match[1] else max(0, depth[name] - 1)
        elif token == '"':
            depth[token] ^= 1
        elif token in _CLOSES:
            depth[_CLOSES[token]] = max(0, depth[_CLOSES[token]] - 1)
        else:
            depth[token] += 1
    return sum(depth.values())
