"""What can be counted in a text that tells good ones from bad ones, for languages with and without blanks.

After the heuristics of C4 (Raffel et al. 2020, https://arxiv.org/abs/1910.10683), Gopher (Rae et al. 2021,
https://arxiv.org/abs/2112.11446, appendix A) and FineWeb (Penedo et al. 2024, https://arxiv.org/abs/2406.17557). Shares
are of all characters that are not white space, unless said otherwise.

Where these count words, Chinese needs something else: function characters (的了是在…, in classical text 之乎者也…) for
stop words, characters of the daily 5,401 (Big5's first level, with GB 2312's for Simplified text) for known words.
"""

from __future__ import annotations

import re
from functools import lru_cache

import numpy as np

from hanlin.core.text.ngrams import code_points
from hanlin.make.collect.steps.judging.repetition import LEAST_REPEATING, repeated_share, top_share, units_of

_HAN, _LETTER, _DIGIT, _PUNCTUATION, _SPACE, _BROKEN, _CURLY, _UNSPACED = 1, 2, 4, 8, 16, 32, 64, 128
_UNSPACED_RANGES = (
    (0x0E00, 0x10A0),
    (0x1200, 0x1380),
    (0x1780, 0x1800),
    (0x1A20, 0x1AB0),
    (0xA000, 0xA4D0),
    (0xA980, 0xA9E0),
)
"""Thai, Lao, Tibetan and Burmese, Ethiopic, Khmer, Tham, Yi, Javanese: no blanks between words."""
_BITS = (np.arange(256)[:, None] >> np.arange(8)) & 1
_COMMON, _MODERN, _CLASSICAL = 1, 2, 4

MODERN = (
    "的了是在不有和我他她你們们這这那個个就也都為为會会要說说與与及或以於于對对可上下中人請请本應应並并等由從从把給给"
)
CLASSICAL = "之乎者也而其於以為為則焉矣哉兮曰不無有何誰此彼若所可與吾予爾汝自相亦已未欲如來去"
ENGLISH = frozenset(
    ["the", "be", "to", "of", "and", "that", "have", "with", "is", "in", "a", "for", "it", "on", "are", "as", "was"]
)

_ENDS = "。．.！!？?…」』”\"'》】）)：:；;～~，,、"
_BULLETS = ("•", "●", "■", "◆", "★", "☆", "▲", "▪", "‧", "·", "-", "*", "－", "◎", "○", "※", "►", "▶", "►")
_ELLIPSES = ("...", "…", "……", "⋯")
_BOILERPLATE = re.compile(
    r"javascript|cookie|all rights reserved|terms of (?:use|service)|privacy policy|sign (?:in|up)|log ?in|subscribe|"
    r"read more|click here|share on|follow us|copyright|版權所有|版权所有|著作權所有|未經(?:授權|許可)|"
    r"隱私權?(?:政策|聲明)|隐私政策|使用條款|服務條款|服务条款|回(?:到)?首頁|返回首页|回上一頁|上一頁|下一頁|上一页|下一页|更多內容|閱讀更多|"
    r"延伸閱讀|相關文章|相关文章|分享到|加入會員|會員登入|忘記密碼|加入購物車|立即購買|立即购买|客服專線|聯絡我們|联系我们|"
    r"網站導覽|网站地图|關於我們|关于我们|訂閱電子報|點此|點擊這裡|点击这里|最佳瀏覽|本站",
)
_BOILERPLATE_CHARS = 120
"""A longer line is a sentence that speaks of such things."""
_MOJIBAKE = re.compile(r"[ÃÂ][\u0080-\u00bf]|â€.|[ãäåæçèé][\u0080-\u00bf¡-¿‚-›]{1,2}|ï¼.|锟斤拷|烫烫烫|\ufffd")
_SENTENCE_END = re.compile(r"[。！？!?；;…]|\.(?:\s|$)")
_ADDRESS = re.compile(r"(?:https?://|www\.)[\x21-\x7e]+")
_WORD = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)*")


def figures(text: str) -> dict[str, float]:
    """All figures of a text by their names; {} for a text of nothing but white space."""
    codes = code_points(text)
    classes = _classes()[codes]
    codes = codes[(classes & _SPACE) == 0]
    total = len(codes)
    if not total:
        return {}
    marks = _sums(classes)
    broken = marks[5] + _of_wrong_encoding(text, codes)
    letters, east_asian, unspaced = marks[1], 2 * marks[0] >= marks[1], 2 * marks[7] > marks[1]
    units = units_of(text, codes, "characters" if east_asian else "signs" if unspaced else "words")
    return {
        "characters": float(total),
        "letters": letters / total,
        "digits": marks[2] / total,
        "punctuation": marks[3] / total,
        "symbols": (total - letters - marks[2] - marks[3]) / total,
        "broken": broken / total,
        "addresses": sum(map(len, _ADDRESS.findall(text))) / total if "://" in text or "www." in text else 0.0,
        "curly brackets": marks[6] / total,
        "top n-gram": top_share(units) if total >= LEAST_REPEATING else 0.0,
        "repeated n-grams": repeated_share(units) if total >= LEAST_REPEATING else 0.0,
        **_of_lines(text),
        **(_of_han(codes, marks[0]) if east_asian else {} if unspaced else _of_words(text)),
    }


def _of_wrong_encoding(text: str, codes: np.ndarray) -> int:
    """How many characters look like another encoding's: UTF-8 read as Latin-1, GBK's 锟斤拷 and 烫烫烫."""
    latin = bool(((codes >= 0x80) & (codes < 0x100) | (codes == 0xFFFD)).any())
    if not latin and "锟斤拷" not in text and "烫烫烫" not in text:
        return 0
    return sum(map(len, _MOJIBAKE.findall(text)))


def _sums(classes: np.ndarray) -> list[int]:
    """How many characters bear each class, in the order of their bits."""
    return (np.bincount(classes, minlength=256) @ _BITS).tolist()


def _of_lines(text: str) -> dict[str, float]:
    """Shares of lines, or of characters in lines; blank lines don't count."""
    lines = [line.strip() for line in text.split("\n") if line.strip()]
    lengths = [len(line) for line in lines]
    total, num = sum(lengths), len(lines)
    seen: set[str] = set()
    again = [length for line, length in zip(lines, lengths) if line in seen or seen.add(line)]  # type: ignore[func-returns-value]
    paragraphs = [part.strip() for part in text.split("\n\n") if part.strip()]
    lowered = text.lower()
    boilerplate = 0
    if _BOILERPLATE.search(lowered):
        short = [line for line in lines if len(line) < _BOILERPLATE_CHARS]
        boilerplate = sum(len(line) for line in short if _BOILERPLATE.search(line.lower()))
    return {
        "lines": float(num),
        "line length": total / num,
        "repeated lines": len(again) / num,
        "repeated lines' characters": sum(again) / total,
        "repeated paragraphs": 1 - len(set(paragraphs)) / len(paragraphs),
        "lines with an end": sum(line[-1] in _ENDS for line in lines) / num,
        "short lines": sum(length < 12 and line[-1] not in _ENDS for line, length in zip(lines, lengths)) / num,
        "sentence ends": float(len(_SENTENCE_END.findall(text))),
        "bullets": sum(line.startswith(_BULLETS) for line in lines) / num,
        "ellipses": sum(line.endswith(_ELLIPSES) for line in lines) / num,
        "boilerplate": boilerplate / total,
        "lorem ipsum": float("lorem ipsum" in lowered),
    }


def _of_han(codes: np.ndarray, num: int) -> dict[str, float]:
    """Shares of Han, kana and Hangul characters."""
    marks = _han_marks()[codes]
    return {
        "east asian": float(num),
        "common characters": float(((marks & _COMMON) > 0).sum() / num) if num else 1.0,
        "modern function characters": float(((marks & _MODERN) > 0).sum() / num) if num else 1.0,
        "classical function characters": float(((marks & _CLASSICAL) > 0).sum() / num) if num else 1.0,
    }


def _of_words(text: str) -> dict[str, float]:
    words = text.split()
    spelled = _WORD.findall(text)
    lengths = sum(map(len, words)) / max(1, len(words))
    known = len(ENGLISH.intersection(word.lower() for word in spelled))
    return {
        "words": float(len(words)),
        "word length": lengths,
        "words with a letter": sum(any(map(str.isalpha, word)) for word in words) / max(1, len(words)),
        "stop words": float(known),
    }


@lru_cache(maxsize=1)
def _classes() -> np.ndarray:
    """(code points,) uint8: Unicode's general category, put into few classes."""
    import unicodedata

    table = np.zeros(0x110000, np.uint8)
    for code in range(0x30000):
        kind = unicodedata.category(chr(code))
        if kind[0] in "LM":
            table[code] = _LETTER
        elif kind[0] == "N":
            table[code] = _DIGIT
        elif kind[0] == "P":
            table[code] = _PUNCTUATION
        elif kind[0] == "Z" or chr(code).isspace():
            table[code] = _SPACE
        elif kind in ("Co", "Cn", "Cc", "Cs"):
            table[code] = _BROKEN
    for start, end in ((0x2E80, 0x3000), (0x3005, 0x3008), (0x3040, 0xA000), (0xAC00, 0xD7B0), (0xF900, 0xFB00)):
        table[start:end] |= np.where(table[start:end] & _LETTER, _HAN, 0).astype(np.uint8)
    for start, end in _UNSPACED_RANGES:
        table[start:end] |= np.where(table[start:end] & _LETTER, _UNSPACED, 0).astype(np.uint8)
    table[0x20000:0x323B0] = _HAN | _LETTER
    table[0xE000:0xF900] = _BROKEN
    table[[ord(c) for c in "{}"]] |= _CURLY
    table[[ord(c) for c in "○〇＋＝％％℃～$￥"]] = _PUNCTUATION
    return table


@lru_cache(maxsize=1)
def _han_marks() -> np.ndarray:
    table = np.zeros(0x110000, np.uint8)
    table[0x3040:0x3100] = _COMMON
    table[0xAC00:0xD7B0] = _COMMON | _MODERN
    for code in range(0x3041, 0x3097):
        table[code] |= _MODERN
    for code in range(0x4E00, 0xA000):
        if _level_one(chr(code), "cp950", 0xC680) or _level_one(chr(code), "gb2312", 0xD800):
            table[code] |= _COMMON
    for characters, mark in ((MODERN, _MODERN), (CLASSICAL, _CLASSICAL)):
        table[[ord(character) for character in characters]] |= mark
    return table


def _level_one(character: str, encoding: str, end: int) -> bool:
    try:
        encoded = character.encode(encoding)
    except UnicodeEncodeError:
        return False
    return len(encoded) == 2 and int.from_bytes(encoded, "big") < end
