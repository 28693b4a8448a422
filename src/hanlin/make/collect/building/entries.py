"""Which entries of CC-CEDICT, and which of their glosses, make good questions: for the builders that read them."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

from hanlin.make.collect.building.builder import Nothing, Source

MOST_WORDS = 8
"""A longer gloss explains and does not translate."""

_POINTER = re.compile(
    r"\(?((an? )?(\w+ ){0,2}variant of|see( also)? |also |same as|abbreviation |equivalent (to|of)|used in|short for|"
    r"contraction of|one of the|Kangxi radical|Japanese for|classifier for|pronunciation of|erhua )",
    re.IGNORECASE,
)
_PLACE = re.compile(
    r"\b(county|prefecture|district|city|township|banner|league|town|province|village)\b", re.IGNORECASE
)
_NAME = re.compile(r"(surname |\(name\)|given name)")
_COARSE = re.compile(
    r"vulgar|derog|slur\b|offensive|coarse|sexual|\bsex\b|fuck|shit\b|penis|vagina|cunt|whore|prostitut|bastard|masturbat",
    re.I,
)
_ELSEWHERE = re.compile(r"\(PRC|\bPRC\b|\bCCP\b|Mainland|\(HK\)|Hong Kong|Cantonese\)|\(dialect\)")
_IDIOM = re.compile(r"\s*\((?:idiom|saying|proverb)[^)]*\)")
_NOTE = re.compile(r"\([^)]*\)")


def glosses_of(source: Source) -> list[str]:
    """The glosses that say what the word means. Raises Nothing where there are none, or the word is a coarse one."""
    facts = source.facts
    glosses = facts.get("glosses") or []
    body = "/".join(glosses)
    if _COARSE.search(body):
        raise Nothing("a coarse word")
    if _ELSEWHERE.search(body) or is_mainland_wording(str(facts.get("word"))):
        raise Nothing("a word of elsewhere")
    if _PLACE.search(body) and facts["reading"][:1].isupper() and "Taiwan" not in body:
        raise Nothing("a place of elsewhere")
    told = [gloss for gloss in glosses if not _POINTER.match(gloss) and not _NAME.search(gloss)]
    if not told:
        raise Nothing("it only points to another word")
    return told


def heading_of(source: Source) -> str:
    """The word with its reading: 軟體 (ㄖㄨㄢˇ ㄊㄧˇ, ruǎn tǐ)."""
    facts = source.facts
    return f"{facts['word']} ({', '.join(filter(None, (facts.get('zhuyin', ''), facts['reading'])))})"


def is_idiom(glosses: list[str]) -> bool:
    return any(_IDIOM.search(gloss) for gloss in glosses)


def without_marks(gloss: str) -> str:
    """The gloss without "(idiom)": who reads it knows."""
    return _IDIOM.sub("", gloss).strip()


def translations(glosses: list[str]) -> list[str]:
    """Glosses short enough to be translations, without their notes: Hindi (language) → Hindi."""
    bare = (" ".join(_NOTE.sub("", gloss).split()) for gloss in glosses)
    return list(dict.fromkeys(gloss for gloss in bare if 1 <= len(gloss.split()) <= MOST_WORDS))


def only_its_own(source: Source, glosses: list[str]) -> list[str]:
    """Short glosses that no other entry of the dictionary has: asked for in English, the word is the reply."""
    facts: dict[str, Any] = source.facts
    own = set(facts.get("own") or [])
    return [gloss for gloss in glosses if gloss in own and len(gloss.split()) <= MOST_WORDS and not _NOTE.search(gloss)]


@lru_cache(4096)
def is_mainland_wording(word: str) -> bool:
    """Whether Taiwan has another word for it, by OpenCC's phrases: 軟件 is one (軟體)."""
    phrases, characters = _converters()
    return bool(phrases.convert(word) != characters.convert(word))


@lru_cache
def _converters() -> tuple[Any, Any]:
    import opencc

    return opencc.OpenCC("s2twp"), opencc.OpenCC("s2tw")
