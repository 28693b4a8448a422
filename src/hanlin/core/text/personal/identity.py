"""Numbers of persons: 身分證字號, 居留證, 健保卡, 護照.

身分證字號 (Ministry of the Interior, 國民身分證統一編號編碼原則): a letter for the place of first registration, 1
(male) or 2 (female), seven digits, a check digit. The letter stands for a number of two digits n₁n₂ (A = 10, B =
11, …, I = 34, O = 35, W = 32, Z = 33), and

    n₁·1 + n₂·9 + d₁·8 + d₂·7 + … + d₈·1 + d₉·1 ≡ 0 (mod 10)

Since the weights 8, 6, 5, 4 and 2 share a factor with 10, this catches most wrong digits, not each.

居留證 (National Immigration Agency, 統一證號): since 2021-01-02 a letter, 8 or 9, and eight digits by the same
formula; before, two letters, the second A to D for sex and status, which counts as the units digit of its number (A
= 0, …, D = 3) in the place of d₁. 健保卡 (National Health Insurance): twelve digits, often four zeros first. 護照:
nine digits, or a letter and eight; neither of the two has a published check, so only their label tells.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from hanlin.core.text.personal.context import free, label
from hanlin.core.text.personal.match import Match

LETTERS = {letter: 10 + place for place, letter in enumerate("ABCDEFGHJKLMNPQRSTUVXYWZIO")}

_NUMBER = re.compile(r"[A-Za-z][ -]?(?:[1289]|[A-Da-d])(?:[ -]?[0-9]){8}")
_LABEL = re.compile("身分證|身份證|居留證|統一證號|國民身|證號|身證|ID|字號|證統一", re.IGNORECASE)
_HEALTH_CARD = re.compile(r"健保(?:IC)?卡[^0-9A-Za-z\n]{0,10}([0-9]{4}[ -]?[0-9]{4}[ -]?[0-9]{4})(?![0-9])")
_PASSPORT = re.compile(
    r"(?:護照|[Pp]assport|PASSPORT)(?: ?(?:[Nn]o\.?|NO\.?|[Nn]umber))?"
    r"[^0-9A-Za-z\n]{0,10}([A-Z]?[0-9]{8,9})(?![0-9A-Za-z])"
)


def is_national_id(number: str) -> bool:
    """Ten characters, A123456789: a right 身分證字號, by its sex digit and its check digit."""
    return bool(re.fullmatch("[A-Z][12][0-9]{8}", number)) and weighted_sum(number) % 10 == 0


def is_resident_id(number: str) -> bool:
    """Ten characters, A823456783 or AC12345678: a right 居留證 of the new or the old kind."""
    return bool(re.fullmatch("[A-Z][89A-D][0-9]{8}", number)) and weighted_sum(number) % 10 == 0


def weighted_sum(number: str) -> int:
    """The sum that 10 must divide."""
    first = LETTERS[number[0]]
    digits = [int(char) if char.isdigit() else LETTERS[char] % 10 for char in number[1:]]
    weights = (8, 7, 6, 5, 4, 3, 2, 1, 1)
    return first // 10 + first % 10 * 9 + sum(weight * digit for weight, digit in zip(weights, digits))


def persons(text: str) -> Iterator[Match]:
    """身分證字號 and 居留證. Small letters count only behind a label; other labels (訂單編號) speak against."""
    for found in _NUMBER.finditer(text):
        number = re.sub("[ -]", "", found[0])
        labelled = label(text, found.start(), _LABEL)
        if labelled < 0 or not free(text, *found.span()) or not (number.isupper() or labelled):
            continue
        if len(number) < len(found[0]) and not labelled and number[1] in "ABCDabcd":
            continue
        number = number.upper()
        confidence = 0.99 if labelled else 0.9
        if is_national_id(number):
            yield Match("national_id", *found.span(), confidence, checked=True)
        elif is_resident_id(number):
            yield Match("resident_id", *found.span(), confidence, checked=True)


def health_cards(text: str) -> Iterator[Match]:
    for found in _HEALTH_CARD.finditer(text):
        yield Match("health_card", *found.span(1), 0.95)


def passports(text: str) -> Iterator[Match]:
    for found in _PASSPORT.finditer(text):
        if len(found[1]) == 9:
            yield Match("passport", *found.span(1), 0.95)
