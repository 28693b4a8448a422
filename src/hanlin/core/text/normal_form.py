"""One form for text that reads the same: width, blanks, invisible characters, line breaks, boilerplate lines.

Not NFKC: that would make m² m2, ① 1, ™ TM and ， a comma. Of its mappings only these are taken: full-width Latin
letters and digits, half-width katakana, Kangxi radicals and compatibility ideographs (of PDF files), Latin ligatures.
Code, addresses and paths (core/text/protected.py), indented lines and Markdown tables keep their width and blanks.

Every function is idempotent.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from itertools import islice

from hanlin.core.text.protected import HOLE, show

HAN = r"\u3007\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U000323af"
_WIDE_BLANKS = r"\u00a0\u1680\u2000-\u200a\u202f\u205f\u3000"
_BLANK_CHARACTERS = r" \t" + _WIDE_BLANKS

# ------------------------------------------------------------------------------------------------- width


def halve_width(text: str) -> str:
    """Ａ１ → A1, ｶﾞ → ガ, ⼀ → 一, ﬁ → fi. Punctuation keeps its width."""
    return _WIDE.sub(lambda match: unicodedata.normalize("NFKC", match.group()), text)


_WIDE = re.compile(r"[０-９Ａ-Ｚａ-ｚｦ-ﾟ⼀-⿕⺟⻳ﬀ-ﬆ豈-\ufaff\U0002f800-\U0002fa1f]+")


def widen_punctuation(text: str) -> str:
    """Half-width , ; : ? ! . and () that stand in Chinese become full width."""
    while (new := _PARENTHESES.sub(r"\1（\2）", text)) != text:
        text = new
    return _BETWEEN.sub(lambda match: _FULL_WIDTH[match.group()], text)


_FULL_WIDTH = dict(zip(",;:?!.", "，；：？！。"))
_BETWEEN = re.compile(rf"(?<=[{HAN}」』）])(?:[,;:?!](?=[{HAN}「『（\n]|\Z)|\.(?=\n|\Z))")
_PARENTHESES = re.compile(rf"(?<=[{HAN}，。；：？！、」』）])([,;:?!]?)\(([^()\n]*[{HAN}][^()\n]*)\)")

# ------------------------------------------------------------------------------------------------- invisible characters


def without_invisible(text: str) -> str:
    """Without zero-width and control characters, marks of direction, soft hyphens, and selectors that select nothing.

    Joiners stay in emoji and in the scripts that need them; marks of direction in text that runs from right to left;
    variation selectors behind Han characters and symbols.
    """
    if text.isascii() and not _CONTROL.search(text):
        return text
    text = _SOFT_HYPHEN.sub("", _LINE_END.sub("\n", text))
    marks = _MEANT_MARKS if _RIGHT_TO_LEFT.search(text) else _MARKS
    text = marks.sub("", text)
    while _CONDITIONAL.search(text) and (new := _SELECTOR.sub("", _JOINER.sub("", text))) != text:
        text = new
    return text


_LINE_END = re.compile("\r\n?|[\x0b\x0c\x85\u2028\u2029]")
_SOFT_HYPHEN = re.compile("\u00ad\n?")
_ALWAYS = "\x00-\x08\x0e-\x1f\x7f-\x84\x86-\x9f\u200b\u2060-\u2064\u206a-\u206f\ufeff\ufff9-\ufffb\ufffe\uffff\u180e"
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f]")
_MEANT_MARKS = re.compile(f"[{_ALWAYS}]")
_MARKS = re.compile(f"[{_ALWAYS}\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")
_RIGHT_TO_LEFT = re.compile("[\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufefc]")
_EMOJI = "\u203c\u2049\u2122\u2139\u2190-\u27bf\u2900-\u297f\u2b00-\u2bff\u3030\u303d\u3297\u3299\U0001f000-\U0001faff"
_JOINED_SCRIPTS = "\u0600-\u109f\u1780-\u17ff\ufb50-\ufdff\ufe70-\ufefc"
_CONDITIONAL = re.compile("[\u200c\u200d\ufe00-\ufe0f\U000e0020-\U000e01ef]")
_JOINER = re.compile(
    f"\u200d(?![{_EMOJI}{_JOINED_SCRIPTS}])|(?<![{_EMOJI}{_JOINED_SCRIPTS}\ufe0f])\u200d"
    f"|\u200c(?![{_JOINED_SCRIPTS}])|(?<![{_JOINED_SCRIPTS}])\u200c"
)
_SELECTOR = re.compile(
    f"(?<![{_EMOJI}#*0-9\u00a9\u00ae{HAN}])[\ufe00-\ufe0f]|(?<![{HAN}])[\U000e0100-\U000e01ef]"
    "|(?<![\U0001f3f4\U000e0020-\U000e007f])[\U000e0020-\U000e007f]"
)

# ------------------------------------------------------------------------------------------------- blanks


def tidy_blanks(text: str) -> str:
    """Runs of blanks become one, wide blanks plain ones, blanks at line ends go, and of many blank lines one stays.

    An ideographic indent goes. Lines indented by four blanks or a tab, and table rows, keep their blanks.
    """
    if _SUSPICIOUS.search(text):
        text = "\n".join(_tidy_line(line) if _UNTIDY.search(line) else line for line in text.split("\n"))
    return _BLANK_LINES.sub("\n\n", text).strip("\n")


def _tidy_line(line: str) -> str:
    line = line.rstrip(_STRIPPED)
    if line.startswith(("    ", "\t")) or _TABLE_ROW.match(line):
        return line
    said = line.lstrip(_STRIPPED)
    indent = line[: len(line) - len(said)]
    return ("" if _WIDE_BLANK.search(indent) or not said else indent) + _BLANKS.sub(" ", said)


_STRIPPED = "".join(map(chr, (0x20, 0x9, 0xA0, 0x1680, *range(0x2000, 0x200B), 0x202F, 0x205F, 0x3000)))
_UNTIDY = re.compile(rf"[{_BLANK_CHARACTERS}](?:[{_BLANK_CHARACTERS}]|\Z)|[{_WIDE_BLANKS}]|\S\t")
_SUSPICIOUS = re.compile(rf"[{_BLANK_CHARACTERS}](?:[{_BLANK_CHARACTERS}\n]|\Z)|[{_WIDE_BLANKS}\t]")
_WIDE_BLANK = re.compile(rf"[{_WIDE_BLANKS}]")
_BLANKS = re.compile(rf"[{_BLANK_CHARACTERS}]{{2,}}|[{_WIDE_BLANKS}\t]")
_BLANK_LINES = re.compile(r"\n{3,}")
_TABLE_ROW = re.compile(r"\s*\|.*\||[^|\n]+\|[^|\n]+\|")

# ------------------------------------------------------------------------------------------------- line breaks


def join_hyphenated(text: str) -> str:
    """exam-⏎ple → example: a hyphen at a line's end between small Latin letters."""
    return _HYPHENATED.sub(r"\1", text)


_HYPHENATED = re.compile(r"(?<=[a-zà-ÿ])[-\u2010]\n[ \t]*([a-zà-ÿ]+)")


def join_wraps(text: str) -> str:
    """Lines that break between two Han characters become one; a line this short is a title or a verse and stays."""
    lines = text.split("\n")
    joined = lines[:1]
    for line in lines[1:]:
        if len(joined[-1]) >= WRAPPED_CHARS and _BREAKS_OFF.search(joined[-1]) and _GOES_ON.match(line):
            joined[-1] += line
        else:
            joined.append(line)
    return "\n".join(joined)


WRAPPED_CHARS = 15
_BREAKS_OFF = re.compile(rf"[{HAN}，、]\Z")
_GOES_ON = re.compile(rf"(?![一二三四五六七八九十]+、|第[一二三四五六七八九十百\d]+[條章節項款])[{HAN}]")

# ------------------------------------------------------------------------------------------------- boilerplate

BOILERPLATE: dict[str, re.Pattern[str]] = {
    "copyright": re.compile(
        r"(?:(?:©|\(c\)|copyright).{0,80}|.{0,40}(?:版權所有|版权所有|all rights reserved).{0,40})", re.I
    ),
    "page number": re.compile(
        r"第\s*\d+\s*[頁页](?:\s*[,，/／|]?\s*[共總总]\s*\d+\s*[頁页])?|page\s+\d+(?:\s+of\s+\d+)?|[-–—]\s*\d{1,4}\s*[-–—]"
        r"|頁次[:：]?\s*\d+(?:\s*/\s*\d+)?",
        re.I,
    ),
    "navigation": re.compile(
        r"[\[【<«▲△↑]?\s*(?:回(?:上一?頁|首頁|頂端|最上層|到?頁首|列表)|返回(?:上一?[頁页]|首[頁页]|[頂顶]部|列表)|"
        r"(?:友善)?列印(?:本頁|此頁|網頁)?|打印(?:本页|此页)?|轉寄(?:好友|友人)?|上一[頁篇则則]|下一[頁篇则則]|"
        r"跳到主要內容區?塊?|網站(?:導覽|地圖)|字級[:：]?(?:\s*[大中小])*|分享(?:到|至).{0,12}|加入最愛|我要留言)\s*[\]】>»]?",
    ),
    "cookies": re.compile(
        r"(?=.{0,200}cookie)(?=.*(?:本網站|我們|本站|同意|接受|we use|this (?:web)?site|accept)).{1,200}", re.I
    ),
}
"""Lines that say nothing of their page, by kind. A pattern holds for the whole line."""


def without_boilerplate(
    text: str, more: frozenset[str] = frozenset(), spans: Sequence[str] = (), *, known: bool = True
) -> tuple[str, list[str], Counter[str]]:
    """(the text without boilerplate lines, what its holes still hold, how many lines of each kind went).

    more: further lines, without their blanks; spans: what was taken out of the text (protected.py); known: also the
    lines of BOILERPLATE.
    """
    gone: Counter[str] = Counter()
    kept: list[str] = []
    kept_spans: list[str] = []
    holes = iter(spans)
    for line in text.split("\n"):
        inside = list(islice(holes, line.count(HOLE))) if spans else []
        if kind := _boilerplate_kind(line.strip(), show(line, inside).strip(), more, known):
            gone[kind] += 1
        else:
            kept.append(line)
            kept_spans += inside
    return ("\n".join(kept), kept_spans, gone) if gone else (text, list(spans), gone)


def _boilerplate_kind(line: str, shown: str, more: frozenset[str], known: bool) -> str:
    """shown: the line with what was taken out of it. The words that tell must stand outside of that."""
    if not line or len(shown) > 200:
        return ""
    if shown in more:
        return "listed"
    if not known or not _SUSPECT.search(line):
        return ""
    return next((kind for kind, pattern in BOILERPLATE.items() if pattern.fullmatch(shown)), "")


_SUSPECT = re.compile(
    r"(?i)版[權权]所有|©|\(c\)|copyright|rights reserved|[頁页]|page|^[-–—]|列印|打印|返回|轉寄|上一|下一|跳到|網站|"
    r"字級|分享|加入最愛|我要留言|cookie|回"
)
