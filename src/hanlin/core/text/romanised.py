"""Taiwanese Hokkien in Latin letters: Pe̍h-ōe-jī (Church Romanisation) and Tâi-lô (Ministry of Education, 2006).

A syllable is initial + vowels + ending with one tone mark; syllables of a word are joined by hyphens:

    initial  p ph m b t th n l k kh ng g h, POJ: ch chh j s, Tâi-lô: ts tsh j s
    vowels   a e i o o͘/oo u ai au ia iau io iu oa/ua oai/uai oe/ue ui, or a syllabic m, ng
    ending   m n ng (nasal), p t k h (entering), ⁿ/nn (nasalised)
    tones    a á à ah â ā a̍h a̋
"""

from __future__ import annotations

import re
import unicodedata

_TONES = "\u0301\u0300\u0302\u0304\u030d\u030b\u0306"
_MARK = re.compile(f"[{_TONES}]")
_SYLLABLE = re.compile(
    r"(?:(?:ph|p|m|b|tshh?|ts|th|t|n|l|kh|k|ng|g|h|chh|ch|j|s)?"
    r"(?:iau|oai|uai|oa|ua|oe|ue|ai|au|ia|io|iu|ui|eng|ek|oo|a|e|i|o|u)"
    r"(?:nnh|nn|ng|[mnptkh])?|(?:h|th|ts|s|k|p|ch|chh|kh|n|t|m)?(?:ng|m)h?)$"
)
_WORD = re.compile(r"[^\W\d_][^\W\d_\u0300-\u036fⁿ'-]*[^\s,.;:!?()\"“”「」，。！？]*")


def taiwanese_share(text: str) -> float:
    """The share of words that could be Taiwanese, by syllables; 0 where too few bear a tone: then it's no sign."""
    right = toned = total = 0
    for word in _WORD.findall(text):
        syllables = [syllable for syllable in word.split("-") if syllable]
        plain = [_plain(syllable) for syllable in syllables]
        total += 1
        right += all(_SYLLABLE.match(letters) and marks <= 1 for letters, marks in plain)
        toned += any(marks for _, marks in plain) or "ⁿ" in word or "\u0358" in word
    if not total or toned < 0.3 * total:
        return 0.0
    return right / total


def _plain(syllable: str) -> tuple[str, int]:
    """Without its tone mark, in lower case and Tâi-lô's letters for what POJ marks; and how many tone marks it had."""
    apart = unicodedata.normalize("NFD", syllable.lower())
    letters, marks = _MARK.subn("", apart)
    return letters.replace("o\u0358", "oo").replace("ⁿ", "nn").replace("\u207f", "nn"), marks
