"""Mainland wording in Chinese text: which words (軟件, 視頻, 出租車), how often, and what Taiwan says instead.

wording.txt lists the terms by field. They are found by longest match from the left among the terms and the guards
(信息素 holds 信息 by chance). Each term is replaced by one private character, so that counting is counting characters.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Literal

from hanlin.core.text.characters import to_traditional
from hanlin.core.text.phrases import Replace, replacer
from hanlin.core.text.protected import JOINT, hide

When = Literal["always", "simplified", "beside"]

FIRST_MARK = 0xF0000
_ANY_MARK = re.compile("[\U000f0000-\U000f1fff]")
"""Private characters from here on stand for terms, in their order."""


@dataclass(frozen=True)
class Term:
    """mainland: in Traditional characters; simplified: the same as the mainland writes it; when: see wording.txt."""

    mainland: str
    simplified: str
    taiwan: str
    field: str
    when: When


@dataclass(frozen=True)
class Wording:
    terms: tuple[Term, ...]
    guards: tuple[str, ...]
    """In both scripts, as are the cues."""
    cues: tuple[str, ...]


@lru_cache(maxsize=1)
def wording() -> Wording:
    """The list of wording.txt."""
    rows = list(_lines())
    traditional = to_traditional("\n".join(simplified for _, simplified, _ in rows)).split("\n")
    terms: list[Term] = []
    guards: list[str] = []
    cues: list[str] = []
    for (section, simplified, taiwan), mainland in zip(rows, traditional, strict=True):
        field, _, when = section.partition(", ")
        if field == "guards":
            guards += [mainland, simplified]
        elif field == "cues":
            cues += sorted({simplified, mainland})
        elif mainland == taiwan:
            guards += [mainland, simplified]  # said in Taiwan as well; it hides a shorter term
        else:
            terms.append(Term(mainland, simplified, taiwan, field, when or "always"))  # type: ignore[arg-type]
    return Wording(tuple(terms), tuple(guards), tuple(cues))


def _lines() -> Iterator[tuple[str, str, str]]:
    """(section, mainland wording in simplified characters, Taiwan's)."""
    section = ""
    for line in Path(__file__).with_name("wording.txt").read_text(encoding="utf-8").splitlines():
        if line.startswith("["):
            section = line.strip("[]")
        elif line and not line.startswith("#"):
            simplified, _, taiwan = line.partition(" ")
            yield section, simplified, taiwan


def count_wording(texts: Iterable[str]) -> list[Counter[str]]:
    """How often each mainland term stands in each text, by its Traditional spelling. Only terms that are the mainland's
    wherever they stand: 程序 and 質量 are said in Taiwan too. Code, addresses and paths don't count."""
    counts: list[Counter[str]] = []
    for marked in _marked(hide(text, quotations=False)[0] for text in texts):
        marks = Counter(_ANY_MARK.findall(marked))
        counts.append(Counter({_counted()[ord(mark) - FIRST_MARK]: number for mark, number in marks.items()}))
        counts[-1].pop("", None)
    return counts


def is_about_computing(texts: Iterable[str]) -> list[bool]:
    """Whether a text holds a term of computing, or one of its cues."""
    cue = re.compile(f"[{chr(FIRST_MARK)}-{chr(FIRST_MARK + _num_cues() - 1)}]")
    return [bool(cue.search(marked)) for marked in _marked(texts)]


def terms_said(when: Sequence[When]) -> dict[str, str]:
    """Mainland → Taiwan in Traditional characters, and what stays: the guards, and Taiwan's words (演算法 for 算法)."""
    known = wording()
    staying = (*known.guards, *(term.taiwan for term in known.terms))
    return {word: word for word in staying} | {term.mainland: term.taiwan for term in known.terms if term.when in when}


def _marked(texts: Iterable[str]) -> list[str]:
    """The texts with a mark in place of each term and cue. They hold no JOINT (protected.hide)."""
    texts = list(texts)
    return _marker()(JOINT.join(texts)).split(JOINT) if texts else []


@lru_cache(maxsize=1)
def _marker() -> Replace:
    """Replaces each term and each cue by its mark. Guards, and terms that depend on their line, hide shorter ones."""
    known = wording()
    hiding = [spelled for term in known.terms if term.when != "always" for spelled in (term.mainland, term.simplified)]
    hiding += [term.taiwan for term in known.terms]
    marks = {guard: guard for guard in (*known.guards, *hiding)}
    for number, spellings in enumerate(_spellings()):
        marks.update(dict.fromkeys(spellings, chr(FIRST_MARK + number)))
    return replacer(marks)


def _spellings() -> list[tuple[str, ...]]:
    """By mark: what stands for it in a text. First what tells that a text is about computing."""
    known = wording()
    always = [term for term in known.terms if term.when == "always"]
    always.sort(key=lambda term: term.field != "computing")
    return [(cue,) for cue in known.cues] + [(term.mainland, term.simplified) for term in always]


@lru_cache(maxsize=1)
def _counted() -> tuple[str, ...]:
    """By mark: the term as it is counted, "" for a cue."""
    return tuple(spellings[0] if len(spellings) > 1 else "" for spellings in _spellings())


@lru_cache(maxsize=1)
def _num_cues() -> int:
    known = wording()
    return len(known.cues) + sum(term.field == "computing" and term.when == "always" for term in known.terms)
