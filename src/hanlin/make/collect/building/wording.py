"""A sentence as Taiwan writes it, preferred to the same one in the mainland's words: in Simplified, and in Traditional,
so that the words are learned and not the script alone.

The words stand in wording_pairs.tsv: those that mean the same in any text, and those that do in programs' strings.
Neither OpenCC's phrases nor core/text/wording.txt read backwards would do: a court's procedure became a computer's
process, and an exception to a rule one of a program.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

from hanlin.core.text.documents import Row
from hanlin.make.collect.building.builder import Nothing, Source

TAKES = ("interface", "interpretation", "judgment", "opinion", "case_opinions", "document")

LEAST_CHARS, MOST_CHARS = 12, 160

TRANSLATE = (
    "把下面的介面文字翻成台灣使用的中文。\n\n{asked}",
    "Translate into Traditional Chinese as used in Taiwan:\n\n{asked}",
    "請將這段文字翻譯成繁體中文（台灣）。\n\n{asked}",
)
REWRITE = (
    "請把下面這句話改寫成台灣的用字和用語。\n\n{asked}",
    "下面這句是中國大陸的寫法，台灣會怎麼寫？\n\n{asked}",
    "請用台灣慣用的說法寫這句話：{asked}",
)
CONTINUE = (
    "請接著寫下一句，用台灣的用語。\n\n{asked}",
    "{asked}\n\n請接著往下寫。",
    "請接續這段文字：\n\n{asked}",
)

_PAIRS = Path(__file__).with_name("wording_pairs.tsv")
_BEGINS = re.compile("[\u4e00-\u9fff「《]")
_FOOTNOTE = re.compile(r"同?註\s?\d|頁\s?\d|\bId\.|\bat \d|[A-Za-z]\.|[\u4e00-\u9fff]\d{1,3}[；。，]|。[^」』）]")
_MARK = re.compile(
    "[\u4e00-\u9fff](?<![第年月日至共計約有達等逾於為及以款項])\\d{1,2}(?![\\d年月日號條項款點目個人歲萬元次週期字公倍分級種屆])[\u4e00-\u9fff]"
)
_SENTENCE_END = re.compile(r"(?<=[。！？])|\n+")


def build(source: Source) -> Iterator[Row]:
    if source.row.type == "interface":
        yield from _of_interface(source)
        return
    sentences = [sentence.strip() for sentence in _SENTENCE_END.split(source.row.text)]
    made = 0
    for place, sentence in enumerate(sentences):
        if not _is_prose(sentence):
            continue
        mainland = in_mainland_words(sentence, "")
        if mainland == sentence:
            continue
        made += 1
        before = sentences[place - 1] if place else ""
        if _is_prose(before) and source.number(2, f"kind {place}"):
            templates, asked = CONTINUE, before
        else:
            templates, asked = REWRITE, _simplified(mainland)
        question = source.pick(templates, f"question {place}").format(asked=asked)
        script, rejected = _script_of(source, str(place), mainland)
        yield source.preference(question, sentence, rejected, f"{place + 1}-{script}")
    if not made:
        raise Nothing("no words that the mainland has others for")


def in_mainland_words(text: str, where: str) -> str:
    """The text with the mainland's words, still in Traditional characters; unchanged where only weak words differ.

    where: "interface" for programs' strings, "" for any text.
    """
    pattern, words, weak = _words(where)
    if not any(found not in weak for found in pattern.findall(text)):
        return text
    return pattern.sub(lambda found: words[found.group()], text)


def _is_prose(sentence: str) -> bool:
    """Whole sentences without the footnotes that a PDF's text layer puts between them."""
    return (
        LEAST_CHARS <= len(sentence) <= MOST_CHARS
        and sentence[-1] in "。！？"
        and _BEGINS.match(sentence) is not None
        and not _FOOTNOTE.search(sentence)
        and not _MARK.search(sentence)
    )


def _of_interface(source: Source) -> Iterator[Row]:
    english, chinese = source.facts["en"], source.facts["zh"]
    mainland = in_mainland_words(chinese, "interface")
    if mainland == chinese:
        raise Nothing("no words that the mainland has others for")
    if not source.facts["ask_en"]:
        raise Nothing("asked before")
    question = source.pick(TRANSLATE).format(asked=english)
    script, rejected = _script_of(source, "", mainland)
    yield source.preference(question, chinese, rejected, script)


def _script_of(source: Source, place: str, mainland: str) -> tuple[str, str]:
    """Half of the rejected replies are Simplified, half Traditional with the mainland's words."""
    if source.number(2, f"script {place}"):
        return "hant", mainland
    return "hans", _simplified(mainland)


@lru_cache
def _words(where: str) -> tuple[re.Pattern[str], dict[str, str], frozenset[str]]:
    """(pattern of Taiwan's words, the mainland's by Taiwan's, words that alone don't make a pair)."""
    lines = [line.split("\t") for line in _PAIRS.read_text(encoding="utf-8").splitlines() if line[:1] != "#"]
    words = {taiwan: mainland for taiwan, mainland, *only in lines if not only or only[0] in (where, "weak")}
    weak = frozenset(taiwan for taiwan, _, *only in lines if only == ["weak"])
    return re.compile("|".join(sorted(map(re.escape, words), key=len, reverse=True))), words, weak


def _simplified(text: str) -> str:
    return str(_opencc().convert(text))


@lru_cache
def _opencc() -> Any:
    import opencc

    return opencc.OpenCC("tw2s")
