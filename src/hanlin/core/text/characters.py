"""Simplified characters to those that Taiwan writes: 发 → 發 or 髮, by the phrase it stands in.

OpenCC's phrases do nearly all; characters.txt says what they get wrong, and what Taiwan writes otherwise. Surnames stay
before a title or after 姓 (范先生, not 範先生): a name without one can't be told from a word.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np

from hanlin.core.text.phrases import Replace, opencc_replacer, replacer

_SURNAMES = dict(zip("余范姜于钟郁涂游岳谷沈萧叶胡", "余范姜于鍾郁涂游岳谷沈蕭葉胡"))
_TITLES = (
    "先生 小姐 女士 太太 教授 老师=老師 医师=醫師 医生=醫生 律师=律師 法官 检察官=檢察官 主任 经理=經理 博士 校长=校長 "
)
_TITLES += "院长=院長 总经理=總經理 董事长=董事長 委员=委員 议员=議員 立委 同学=同學"

_NUM_TITLES_OF_YU = 5
"""于 is also 於: 分配于法官 is no judge of that name."""

_KEPT_VARIANTS = "污泄"
"""OpenCC writes 汙 and 洩 everywhere, by the ministry's standard; laws and newspapers write 污染 and 排泄."""

_EVERYDAY = ("臺溼賬", "台濕帳")
"""What Taiwan writes every day, beside what the standard says."""

_CJK = range(0x3400, 0xA000)


def to_traditional(text: str) -> str:
    """The text, taken for Simplified, in Taiwan's characters. Each character becomes one character."""
    return to_variants(_phrases()(text))


def to_variants(text: str) -> str:
    """A Traditional text with the forms of its characters that Taiwan writes: 爲 → 為, 牀 → 床. Simplified stays."""
    codes = np.frombuffer(text.encode("utf-32-le"), dtype="<u4")
    return _variants()[codes].tobytes().decode("utf-32-le")


@lru_cache(maxsize=1)
def _phrases() -> Replace:
    return replacer(_exceptions(), ("STPhrases", "STCharacters"))


def _exceptions() -> dict[str, str]:
    lines = Path(__file__).with_name("characters.txt").read_text(encoding="utf-8").splitlines()
    pairs = [line.split() for line in lines if line and not line.startswith("#")]
    return _surnames() | {pair[0]: pair[-1] for pair in pairs}


def _surnames() -> dict[str, str]:
    titles = [title.partition("=")[::2] for title in _TITLES.split()]
    behind = {
        simplified + title: traditional + (title_there or title)
        for simplified, traditional in _SURNAMES.items()
        for title, title_there in titles[: _NUM_TITLES_OF_YU if simplified == "于" else None]
    }
    return behind | {"姓" + simplified: "姓" + traditional for simplified, traditional in _SURNAMES.items()}


@lru_cache(maxsize=1)
def _variants() -> np.ndarray:
    """(code points) of OpenCC's Traditional to Taiwan's: 爲 → 為, 裏 → 裡."""
    table = np.arange(0x110000, dtype="<u4")
    characters = [chr(code) for code in _CJK]
    taiwan = opencc_replacer("t2tw")("\n".join(characters)).split("\n")
    for before, after in zip(characters, taiwan, strict=True):
        if len(after) == 1 and before not in _KEPT_VARIANTS:
            table[ord(before)] = ord(after)
    for before, after in zip(*_EVERYDAY):
        table[ord(before)] = ord(after)
    return table
