"""Which language a text is in, as a BCP 47 tag; made for short text, and for zh-TW, zh-CN, yue, nan, ja and en first.

1. Characters are counted by alphabet (one Han, kana or Hangul character says about as much as three letters); the
   alphabet with most of the text decides which languages are left.
2. Kana is ja, Hangul ko, Bopomofo zh-TW, and so on for alphabets of one language.
3. Han characters: those that only Japanese uses, words of Cantonese and of Taiwanese Hokkien with their weights
   (language_words.tsv; a word that looks like one but isn't weighs 0), at last 繁 or 簡 by hanlin.core.text.script.
   What is written alike in all of them (大山) is "zh", or what the caller wants it to be.
4. Latin letters: Taiwanese romanisation (Pe̍h-ōe-jī, Tâi-lô) by its syllables; all others, and Cyrillic, Arabic and
   Devanagari, by the linear model of hanlin.core.text.alphabets.

zh-TW and zh-CN are what the script says: a mainland text in Traditional characters is zh-TW here. Standard Chinese from
Hong Kong is zh-TW, colloquial Cantonese is yue in either script. "und": no letters, or none that tells.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from hanlin.core.text import alphabets
from hanlin.core.text.ngrams import code_points
from hanlin.core.text.romanised import taiwanese_share
from hanlin.core.text.script import simplified_only, traditional_only

UNDECIDED = "zh"

_MOST_CHARS = 4000
"""What is read of a text. Rows are seldom longer."""

_RANGES = {
    "Latin": ((0x41, 0x5B), (0x61, 0x7B), (0xC0, 0x250), (0x300, 0x370), (0x1E00, 0x1F00), (0x207F, 0x2080)),
    "Greek": ((0x370, 0x400), (0x1F00, 0x2000)),
    "Cyrillic": ((0x400, 0x530),),
    "Armenian": ((0x530, 0x590),),
    "Hebrew": ((0x590, 0x600),),
    "Arabic": ((0x600, 0x700), (0x750, 0x780)),
    "Devanagari": ((0x900, 0x980),),
    "Bengali": ((0x980, 0xA00),),
    "Gurmukhi": ((0xA00, 0xA80),),
    "Gujarati": ((0xA80, 0xB00),),
    "Tamil": ((0xB80, 0xC00),),
    "Telugu": ((0xC00, 0xC80),),
    "Kannada": ((0xC80, 0xD00),),
    "Malayalam": ((0xD00, 0xD80),),
    "Sinhala": ((0xD80, 0xE00),),
    "Thai": ((0xE00, 0xE80),),
    "Lao": ((0xE80, 0xF00),),
    "Tibetan": ((0xF00, 0x1000),),
    "Burmese": ((0x1000, 0x10A0),),
    "Georgian": ((0x10A0, 0x1100),),
    "Ethiopic": ((0x1200, 0x1380),),
    "Khmer": ((0x1780, 0x1800),),
    "Mongolian": ((0x1800, 0x18B0),),
    "Hangul": ((0x1100, 0x1200), (0x3130, 0x3190), (0xAC00, 0xD7B0)),
    "Kana": ((0x3041, 0x3097), (0x309D, 0x30A0), (0x30A1, 0x30FB), (0x30FC, 0x3100), (0xFF66, 0xFFA0)),
    "Bopomofo": ((0x3105, 0x3130), (0x31A0, 0x31C0)),
    "Han": ((0x3005, 0x3008), (0x3400, 0x4DC0), (0x4E00, 0xA000), (0xF900, 0xFB00), (0x20000, 0x323B0)),
}
_ALPHABETS = ("", *_RANGES)
_ONE_LANGUAGE = {
    "Greek": "el", "Armenian": "hy", "Hebrew": "he", "Bengali": "bn", "Gurmukhi": "pa", "Gujarati": "gu", "Tamil": "ta",
    "Telugu": "te", "Kannada": "kn", "Malayalam": "ml", "Sinhala": "si", "Thai": "th", "Lao": "lo", "Tibetan": "bo",
    "Burmese": "my", "Georgian": "ka", "Ethiopic": "am", "Khmer": "km", "Mongolian": "mn", "Hangul": "ko",
}  # fmt: skip
_BY_MODEL = ("Latin", "Cyrillic", "Arabic", "Devanagari")
_EAST_ASIAN = ("Han", "Kana", "Bopomofo")
_LETTERS_PER_HAN = 3

_KANA_SHARE = 0.1
"""Kana among kana and Han that make a text Japanese; a single の in Traditional text is a Taiwanese shop's."""
_BOPOMOFO_SHARE = 0.3
_LEAST_SCORE, _LEAST_DENSITY = 2.0, 0.1
"""Of a topolect's words: the sum of their weights, and that over the number of Han characters."""
_LEAST_ROMANISED, _MOST_ROMANISED = 0.7, 1000
_LEAST_PROBABILITY = 0.3
_TELLING = {"traditional": 1, "simplified": 2, "japanese": 4, "in_jis": 8}
_RARE_TRADITIONAL = re.compile("[气体与无儿听从礼弃虫叶号网厂广几]")
"""Of Simplified text; Big5 has them too, as old or rare characters, so they tell only where nothing else does."""
_ADDRESS = re.compile(r"https?://[\x21-\x7e]+|[\w.+-]+@[\w-]+\.[\w.-]+", re.ASCII)
_ROMAN_LETTERS = re.compile("[āâàáēêèéīîìíńǹōôòóūûùúⁿ\u030d\u0358]")


@dataclass(frozen=True)
class Language:
    """tag: BCP 47, "und" where nothing tells. confidence: 0 … 1, a probability where the linear model decided, else the
    share of the telling signs that agree."""

    tag: str
    confidence: float


def language_of(text: str, undecided: str = UNDECIDED) -> str:
    """The tag alone. undecided: for Han characters that every Chinese language writes alike."""
    return identify(text, undecided).tag


def identify(text: str, undecided: str = UNDECIDED) -> Language:
    """The language of most of the text, judged by its first 4,000 characters."""
    text = unicodedata.normalize("NFC", text[:_MOST_CHARS])
    if "@" in text or "://" in text:
        text = _ADDRESS.sub(" ", text)
    codes = code_points(text)
    counts = dict(zip(_ALPHABETS, np.bincount(_alphabet_of()[codes], minlength=len(_ALPHABETS)).tolist()))
    weights = {name: counts[name] for name in _RANGES if name not in _EAST_ASIAN}
    weights["Hangul"] *= _LETTERS_PER_HAN
    weights["Han"] = _LETTERS_PER_HAN * sum(counts[name] for name in _EAST_ASIAN)
    main = max(weights, key=lambda name: weights[name])
    total = sum(weights.values())
    if not total:
        return Language("und", 0.0)
    found = _in_alphabet(main, text, codes, counts, undecided)
    return Language(found.tag, round(found.confidence * weights[main] / total, 4))


def _in_alphabet(main: str, text: str, codes: np.ndarray, counts: dict[str, int], undecided: str) -> Language:
    if main == "Han":
        return _east_asian(text, codes, counts, undecided)
    if main not in _BY_MODEL:
        return Language(_ONE_LANGUAGE[main], 1.0)
    if main == "Latin" and _ROMAN_LETTERS.search(text):
        share = taiwanese_share(text[:_MOST_ROMANISED])
        if share >= _LEAST_ROMANISED:
            return Language("nan", share)
    tag, probability = alphabets.best(text, main)
    return Language(tag if probability >= _LEAST_PROBABILITY else "und", probability)


def _east_asian(text: str, codes: np.ndarray, counts: dict[str, int], undecided: str) -> Language:
    han, kana, bopomofo = (counts[name] for name in _EAST_ASIAN)
    marks = _mark_of()[codes]
    traditional, simplified = (int(((marks & _TELLING[name]) > 0).sum()) for name in ("traditional", "simplified"))
    borrowed = kana == text.count("の") == 1 and traditional > simplified
    if kana / (han + kana + bopomofo) >= _KANA_SHARE and not borrowed:
        return Language("ja", 1.0)
    if bopomofo / max(1, han + bopomofo) >= _BOPOMOFO_SHARE:
        return Language("zh-TW", 1.0)
    if _is_japanese(marks, text):
        return Language("ja", 0.8)
    if (topolect := _topolect(text, han)) is not None:
        return topolect
    telling = traditional + simplified + (bopomofo > 0)
    if not telling:
        return Language("zh-CN", 0.7) if _RARE_TRADITIONAL.search(text) else Language(undecided, 0.5)
    tag = "zh-CN" if simplified > traditional + (bopomofo > 0) else "zh-TW"
    return Language(tag, max(simplified, traditional + (bopomofo > 0)) / telling)


def _is_japanese(marks: np.ndarray, text: str) -> bool:
    """Without kana: characters or words that only Japanese has; or 会議, where one is written as in Simplified and
    another as in Traditional Chinese, and Japanese has both."""
    traditional, simplified = marks & _TELLING["traditional"] > 0, marks & _TELLING["simplified"] > 0
    shared = marks & _TELLING["in_jis"] > 0
    only_chinese = int(((traditional | simplified) & ~shared).sum())
    japanese = int((marks & _TELLING["japanese"] > 0).sum()) + _score("ja", text)
    if japanese > only_chinese:
        return japanese * 12 >= len(marks)
    alike = bool((traditional & shared).any() and (simplified & shared).any())
    return alike and not only_chinese and not _score("zh", text) and len(marks) <= 12


def _topolect(text: str, han: int) -> Language | None:
    """Cantonese or Hokkien, if its words are dense enough and outweigh those of standard Chinese."""
    scores = {name: _score(name, text) for name in ("yue", "nan")}
    name = max(scores, key=lambda name: scores[name])
    score = scores[name]
    if score < _LEAST_SCORE or score / max(1, han) < _LEAST_DENSITY:
        return None
    standard = _score("zh", text)
    return Language(name, score / (score + standard)) if score > standard else None


def _score(language: str, text: str) -> float:
    pattern, weights = _words()[language]
    return sum(weights[word] for word in pattern.findall(text))


@lru_cache(maxsize=1)
def _words() -> dict[str, tuple[re.Pattern[str], dict[str, float]]]:
    """Per language: any of its words, the longest first, and their weights."""
    weights: dict[str, dict[str, float]] = {}
    table = Path(__file__).with_name("language_words.tsv").read_text(encoding="utf-8")
    for line in table.splitlines()[1:]:
        language, weight, words = line.split("\t")
        weights.setdefault(language, {}).update({word: float(weight) for word in words.split()})
    return {
        language: (re.compile("|".join(sorted(map(re.escape, of), key=len, reverse=True))), of)
        for language, of in weights.items()
    }


@lru_cache(maxsize=1)
def _alphabet_of() -> np.ndarray:
    """(code points,) uint8: the number of each character's alphabet, 0 for none."""
    table = np.zeros(0x110000, dtype=np.uint8)
    for number, name in enumerate(_RANGES, start=1):
        for start, end in _RANGES[name]:
            table[start:end] = number
    table[[0xD7, 0xF7]] = 0
    return table


@lru_cache(maxsize=1)
def _mark_of() -> np.ndarray:
    """(code points,) uint8: what each Han character tells. Japanese: JIS X 0208 has it, Big5 and GB 2312 don't."""
    table = np.zeros(0x110000, dtype=np.uint8)
    for name, characters in (("traditional", traditional_only()), ("simplified", simplified_only())):
        table[[ord(character) for character in characters]] |= _TELLING[name]
    for code in range(0x4E00, 0xA000):
        sets = {name: _encodable(chr(code), name) for name in ("shift_jis", "cp950", "gb2312")}
        if sets["shift_jis"]:
            table[code] |= _TELLING["in_jis"]
            if not sets["cp950"] and not sets["gb2312"]:
                table[code] = _TELLING["in_jis"] | _TELLING["japanese"]
    return table


def _encodable(character: str, encoding: str) -> bool:
    try:
        character.encode(encoding)
    except UnicodeEncodeError:
        return False
    return True
