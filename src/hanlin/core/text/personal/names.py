"""Names of persons by what stands beside them: a label (姓名：, 原告), or a title (先生, 律師).

A Chinese name is a surname of one character (seldom two) and a given name of two (seldom one). Any two or three
characters could be one, so without such a neighbour none is taken; where a full name was found once, it is found
everywhere in the same text. Foreign names are found only behind a label.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from hanlin.core.text.personal.match import Match
from hanlin.core.text.personal.words import characters, words

_HAN = "[\u4e00-\u9fff]"
_COMMON = frozenset(characters("surnames"))
_COMPOUND = frozenset(words("compound_surnames"))
_NOT_IN_NAMES = frozenset(characters("not_in_names"))
_NOT_NAMES = frozenset(words("not_names"))
_NOT_SURNAMES = frozenset(words("not_surnames"))
_NOT_NAME_ENDS = frozenset(words("not_name_ends"))

_GIVEN = f"(?:(?![{characters('not_in_names')}]){_HAN})"
_SURNAME = f"(?:{'|'.join(words('compound_surnames'))}|[{characters('surnames')}])"
_RARER = characters("surnames") + characters("rare_surnames")
_RARER_SURNAME = f"(?:{'|'.join(words('compound_surnames'))}|[{_RARER}])"
_ANY_SURNAME = f"(?:{'|'.join(words('compound_surnames'))}|[{_RARER}{characters('everyday_surnames')}])"
_ROLES = words("roles")
_LABELS = (*words("labels"), *_ROLES)
_FORMAL = "|".join(words("formal_titles"))
_JOBS = "|".join(words("job_titles"))
_NEXT = "|".join(words("next_labels"))
_END = rf"(?=[^\u4e00-\u9fff]|$|{_FORMAL}|{_JOBS}|{_NEXT})"
_FOLLOWS = (
    rf"(?=[^\u4e00-\u9fff]|$|{_FORMAL}|[於因與及和等犯係即之應在將向對以所為則既未已已曾雖並均自至就經無有不亦間]"
    "|主張|辯|稱|起訴|提起|表示|陳稱|簽|給付|負擔|返還|請求|聲請|上訴|到庭|否認|承認|證述|證稱|供述|涉|共同|駕|騎)"
)

# Colons and blanks are rarer than what labels begin with, so they are found first, then the label before them.
_LABELLED = re.compile(rf"[:=|] ?(?P<name>{_ANY_SURNAME}{_HAN}{{1,2}}){_END}")
_SPACED = re.compile(rf"(?: {{1,8}}| ?\n {{0,8}})(?P<name>{_RARER_SURNAME}{_GIVEN}{{1,2}}){_END}")
_SELF = re.compile(rf"(?:我是|我叫|我名叫|本人|在下|敝人|名叫)(?P<name>{_SURNAME}{_GIVEN}{{2}})(?=[^\u4e00-\u9fff]|$)")
_INLINE = re.compile(rf"[人告](?P<name>{_SURNAME}(?:{_GIVEN}{{2}}{_FOLLOWS}|{_GIVEN}(?=[,。;、:)\n])))")
_NEXT_NAME = re.compile(rf" ?[、,及與和] ?(?P<name>{_SURNAME}{_GIVEN}{{1,2}}){_FOLLOWS}")
_FOREIGN = re.compile(
    r"(?:英文姓名|姓名|[Ff]ull [Nn]ame|[Cc]ardholder|[Pp]assenger)(?: ?[(][^()\n]{1,10}[)])? ?[:=] ?"
    r"(?P<name>[A-Z][A-Za-z'-]+(?:,? [A-Z][A-Za-z'-]*){1,3})"
)
_TITLE = re.compile(
    f"(?P<office>大法官)|(?P<formal>{_FORMAL})|(?P<short>君)(?=[^\u4e00-\u9fff]|$|[之的等於])|(?:{_JOBS})"
)
"""大法官 is written between surname and given name (林大法官子儀) and names an office in public."""


def names(text: str) -> Iterator[Match]:
    found = [*_foreign(text), *([] if text.isascii() else [*_labelled(text), *_titled(text)])]
    yield from found
    yield from again(text, {text[match.start : match.end] for match in found if match.confidence >= 0.6})


def again(text: str, known: Iterable[str]) -> Iterator[Match]:
    """Every place of names that are known from elsewhere. Those of two characters are words too often."""
    for name in sorted(name for name in known if len(name) > 2):
        place = text.find(name)
        while place >= 0:
            yield Match("name", place, place + len(name), 0.7)
            place = text.find(name, place + len(name))


def _labelled(text: str) -> Iterator[Match]:
    for pattern, labels, confidence in ((_LABELLED, _LABELS, 0.9), (_SPACED, _LABELS, 0.8), (_INLINE, _ROLES, 0.7)):
        for found in pattern.finditer(text):
            label_end = found.start() + (pattern is _INLINE)
            if not _is_name(found["name"]) or not _label_before(text, label_end).endswith(labels):
                continue
            yield Match("name", *found.span("name"), confidence)
            while (found := _NEXT_NAME.match(text, found.end("name"))) and _is_name(found["name"]):  # type: ignore[assignment]
                yield Match("name", *found.span("name"), 0.6)
    for found in _SELF.finditer(text):
        if _is_name(found["name"]):
            yield Match("name", *found.span("name"), 0.7)


def _foreign(text: str) -> Iterator[Match]:
    for found in _FOREIGN.finditer(text):
        yield Match("name", *found.span("name"), 0.8)


def _label_before(text: str, end: int) -> str:
    """The last characters before text[end], without blanks (原　　告) and a remark in parentheses (甲方（出租人）)."""
    before = text[max(0, end - 24) : end].rstrip()
    if before.endswith(")"):
        before = before[: before.rfind("(")] if "(" in before else before
    return before.replace(" ", "")


def _titled(text: str) -> Iterator[Match]:
    """The longest reading before a title that can be a name: 歐陽小明, 王小明, 王明, 王. Behind a job one character
    of a given name is too few (高中老師), and the surname alone has to begin the phrase (請問林律師)."""
    for found in _TITLE.finditer(text):
        end = found.start()
        size = 0 if found["office"] else _name_before(text, end, bool(found["formal"]))
        if size > (2 if found["short"] else 0):
            yield Match("name", end - size, end, {1: 0.5, 2: 0.6}.get(size, 0.8))


def _name_before(text: str, end: int, formal: bool) -> int:
    before = text[max(0, end - 4) : end]
    if before[:2] in _COMPOUND and len(before) == 4 and _is_given(before[2:]):
        return 4
    if before[-3:-1] in _COMPOUND and _is_given(before[-1:]):
        return 3
    if text[max(0, end - 4) : end - 2] in _NOT_SURNAMES:
        return 0
    if len(before) >= 3 and before[-3] in _COMMON and _is_given(before[-2:]) and _is_name(before[-3:]):
        return 3
    begins = _begins(text[end - 3 : end - 2])
    if text[max(0, end - 3) : end - 1] in _NOT_SURNAMES:
        pass
    elif (
        len(before) >= 2
        and before[-2] in _COMMON
        and _is_given(before[-1:])
        and (formal or begins)
        and _is_name(before[-2:])
    ):
        return 2
    begins = _begins(text[end - 2 : end - 1])
    if before[-2:] in _COMPOUND:
        return 2
    return int(before[-1:] in _COMMON and before != "" and (formal or begins) and before[-2:] not in _NOT_SURNAMES)


def _begins(before: str) -> bool:
    """What stands before can't be a part of the name: no character, or one between names and other words."""
    return not _is_han(before) or before in _NOT_IN_NAMES or before in "問找見詢託陪叫"


def _is_name(name: str) -> bool:
    return name[:2] not in _NOT_NAMES and name[-2:] not in _NOT_NAME_ENDS


def _is_given(characters: str) -> bool:
    return bool(characters) and all(_is_han(char) and char not in _NOT_IN_NAMES for char in characters)


def _is_han(char: str) -> bool:
    return "\u4e00" <= char <= "\u9fff"
