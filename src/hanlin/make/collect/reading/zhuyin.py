"""Pinyin with tone digits → 注音符號, as Taiwan's schools and dictionaries write readings: ruan3 ti3 → ㄖㄨㄢˇ ㄊㄧˇ.

The correspondence is that of Taiwan's Ministry of Education (國語注音符號手冊). The first tone has no mark; the
neutral one stands before its syllable.
"""

from __future__ import annotations

import re

_SOUNDS = """
b=ㄅ p=ㄆ m=ㄇ f=ㄈ d=ㄉ t=ㄊ n=ㄋ l=ㄌ g=ㄍ k=ㄎ h=ㄏ j=ㄐ q=ㄑ x=ㄒ zh=ㄓ ch=ㄔ sh=ㄕ r=ㄖ z=ㄗ c=ㄘ s=ㄙ
a=ㄚ o=ㄛ e=ㄜ ai=ㄞ ei=ㄟ ao=ㄠ ou=ㄡ an=ㄢ en=ㄣ ang=ㄤ eng=ㄥ er=ㄦ
i=ㄧ ia=ㄧㄚ io=ㄧㄛ ie=ㄧㄝ iai=ㄧㄞ iao=ㄧㄠ iu=ㄧㄡ ian=ㄧㄢ in=ㄧㄣ iang=ㄧㄤ ing=ㄧㄥ
u=ㄨ ua=ㄨㄚ uo=ㄨㄛ uai=ㄨㄞ ui=ㄨㄟ uan=ㄨㄢ un=ㄨㄣ uang=ㄨㄤ ong=ㄨㄥ ueng=ㄨㄥ
ü=ㄩ üe=ㄩㄝ üan=ㄩㄢ ün=ㄩㄣ iong=ㄩㄥ
"""
"""Initials, then finals as they are spelled after one."""

_ZHUYIN = dict(sound.split("=") for sound in _SOUNDS.split())
_TONES = {"1": "", "2": "ˊ", "3": "ˇ", "4": "ˋ"}

_PAUSE = re.compile("[,·]")
_SYLLABLE = re.compile(r"(zh|ch|sh|[bpmfdtnlgkhjqxrzcs])?([aeiouüyw][a-zü]*)([1-5])")
_BUZZING = ("zh", "ch", "sh", "r", "z", "c", "s")
"""Their -i is no vowel: zhi is ㄓ alone."""

_WITHOUT_INITIAL = {
    "yi": "i",
    "yin": "in",
    "ying": "ing",
    "you": "iu",
    "yong": "iong",
    "wu": "u",
    "wei": "ui",
    "wen": "un",
}


def zhuyin_of(pinyin: str) -> str:
    """The reading of a word; "" where a syllable is none of Mandarin's (letters, xx5)."""
    syllables = [_syllable(syllable.lower().replace("u:", "ü")) for syllable in _PAUSE.sub(" ", pinyin).split()]
    return " ".join(syllables) if all(syllables) else ""


def _syllable(syllable: str) -> str:
    if syllable == "r5":
        return "ㄦ"
    if not (parts := _SYLLABLE.fullmatch(syllable)):
        return ""
    initial, final, tone = parts[1] or "", parts[2], parts[3]
    if not initial:
        final = _bare(final)
    elif initial in ("j", "q", "x") and final.startswith("u"):
        final = "ü" + final[1:]
    sound = "" if final == "i" and initial in _BUZZING else _ZHUYIN.get(final)
    if sound is None:
        return ""
    written = _ZHUYIN.get(initial, "") + sound
    return "˙" + written if tone == "5" else written + _TONES[tone]


def _bare(final: str) -> str:
    """A syllable without an initial, as it is spelled after one: ya → ia, weng → ueng, yuan → üan."""
    if final in _WITHOUT_INITIAL:
        return _WITHOUT_INITIAL[final]
    if final.startswith("yu"):
        return "ü" + final[2:]
    if final.startswith("y"):
        return "i" + final[1:]
    return "u" + final[1:] if final.startswith("w") else final
