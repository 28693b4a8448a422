"""Made-up values in place of real ones: the same value gives the same fake in the whole corpus, in the form it was
written.

A fake is drawn from a keyed hash, BLAKE2b (RFC 7693) of (seed, kind, value), so no table of originals exists
anywhere; who has the seed and guesses a value can test the guess, so a seed worth keeping is kept. Where a range is
nobody's, fakes are from it:

    身分證字號, 居留證, 統一編號, cards   a wrong check digit
    land lines                            subscriber numbers with 0 or 1 first, never assigned
    plates                                the letters I and O, never issued
    IBAN                                  the check digits 00, never right
    e-mail                                example.com, .org, .net (RFC 2606)
    network addresses                     192.0.2.0/24 and the like (RFC 5737), 2001:db8::/32 (RFC 3849)

Taiwan keeps no mobile numbers, accounts, names or doors for fiction: such fakes can be somebody's by chance.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial

from hanlin.core.text.personal.companies import is_company_id
from hanlin.core.text.personal.draw import Draw
from hanlin.core.text.personal.fake_dates import fake_date
from hanlin.core.text.personal.fake_places import fake_address
from hanlin.core.text.personal.folding import fold
from hanlin.core.text.personal.identity import LETTERS, weighted_sum
from hanlin.core.text.personal.money import is_luhn
from hanlin.core.text.personal.phones import LANDLINE
from hanlin.core.text.personal.words import characters, words
from hanlin.core.text.personal.written import as_written, plain

_ATTEMPTS = 8


def fake(kind: str, original: str, seed: int) -> str:
    """The fake of `original`, which was recognised as `kind`. Never the original itself, but for a value without
    letters and digits."""
    for attempt in range(_ATTEMPTS):
        made = _MAKERS[kind](fold(original), partial(Draw, seed, kind, attempt))
        made = as_written(made, original)
        if made != original:
            return made
    return made


Drawing = Callable[..., Draw]


def _person_id(original: str, draw: Drawing) -> str:
    """The second character, which says the sex, stays."""
    value = plain(original)
    d = draw(value)
    number = d.one_of("".join(LETTERS)) + value[1] + d.digits(7)
    right = -weighted_sum(number + "0") % 10
    return number + str((right + 1 + d.below(9)) % 10)


def _company_id(original: str, draw: Drawing) -> str:
    d = draw(plain(original))
    number = d.digits(7)
    wrong = [digit for digit in "0123456789" if not is_company_id(number + digit)]
    return number + d.one_of(wrong)


def _card(original: str, draw: Drawing) -> str:
    value = plain(original)
    d = draw(value)
    number = value[0] + d.digits(len(value) - 2)
    return number + d.one_of([digit for digit in "0123456789" if not is_luhn(number + digit)])


def _iban(original: str, draw: Drawing) -> str:
    value = plain(original)
    return value[:2] + "00" + _same_shape(value[4:], draw(value))


def _mobile(original: str, draw: Drawing) -> str:
    """+886 912 … and 0912 … are one number."""
    value = plain(original)
    return value[:-8] + draw(value[-8:]).digits(8)


def _landline(original: str, draw: Drawing) -> str:
    found = LANDLINE.match(original)
    assert found is not None
    number = plain(found["number"])
    d = draw(found["area"], number)
    made = d.one_of("01") + d.digits(len(number) - 1)
    extension = "".join(d.digits(1) if char.isdigit() else char for char in plain(original[found.end("number") :]))
    return plain(original[: found.start("number")]) + made + extension


def _plate(original: str, draw: Drawing) -> str:
    value = plain(original)
    d = draw(value)
    made = _same_shape(value, d)
    place = next(place for place, char in enumerate(made) if char.isalpha())
    return made[:place] + d.one_of("IO") + made[place + 1 :]


def _account(original: str, draw: Drawing) -> str:
    """The first three digits, a bank's or a branch's, stay."""
    value = plain(original)
    return value[:3] + draw(value).digits(len(value) - 3)


def _health_card(original: str, draw: Drawing) -> str:
    """The first four digits, most often zeros, stay."""
    value = plain(original)
    return value[:4] + draw(value).digits(len(value) - 4)


def _any_number(original: str, draw: Drawing) -> str:
    value = plain(original)
    return _same_shape(value, draw(value))


def _email(original: str, draw: Drawing) -> str:
    d = draw(original.lower())
    local = "".join(d.one_of("bcdfghjklmnprstvw") + d.one_of("aeiou") for _ in range(3))
    return f"{local}{d.digits(3)}@example.{d.one_of(('com', 'org', 'net'))}"


def _line_id(original: str, draw: Drawing) -> str:
    value = plain(original)
    return _same_shape(value, draw(value)).lower()


def _name(original: str, draw: Drawing) -> str:
    """A surname always gives the same surname, so that 王小明 and 王先生 stay one person."""
    if original.isascii():
        d = draw(original.lower())
        spelled = [d.one_of(_ROMAN) for _ in re.findall("[A-Za-z'-]+", original)]
        capitals = iter(word.upper() if original.isupper() else word for word in spelled)
        return re.sub("[A-Za-z'-]+", lambda _: next(capitals), original)
    compound = original[:2] in words("compound_surnames")
    surname, given = original[: 2 if compound else 1], original[2 if compound else 1 :]
    surnames = words("compound_surnames") if compound else words("surnames")[:_FREQUENT]
    d = draw("given", original)
    made = "".join(d.one_of(characters("given_first")) for _ in given[1:]) + d.one_of(characters("given_second"))
    return draw("surname", surname).one_of(surnames) + made[-len(given) :] * bool(given)


def _ip(original: str, draw: Drawing) -> str:
    d = draw(original.lower())
    if ":" in original:
        return f"2001:db8::{d.below(65536):x}:{d.below(65536):x}"
    return f"{d.one_of(('192.0.2', '198.51.100', '203.0.113'))}.{1 + d.below(254)}"


def _same_shape(value: str, d: Draw) -> str:
    """Digits for digits, letters for letters (never I and O, which read as digits)."""
    return "".join(d.digits(1) if char.isdigit() else d.one_of("ABCDEFGHJKLMNPQRSTUVWXYZ") for char in value)


_FREQUENT = 60
_ROMAN = (
    "Chen",
    "Lin",
    "Huang",
    "Chang",
    "Lee",
    "Wang",
    "Wu",
    "Liu",
    "Tsai",
    "Yang",
    "Alex",
    "Robin",
    "Kim",
    "Sam",
    "Jamie",
    "Terry",
)

_MAKERS: dict[str, Callable[[str, Drawing], str]] = {
    "national_id": _person_id,
    "resident_id": _person_id,
    "health_card": _health_card,
    "passport": _any_number,
    "company_id": _company_id,
    "carrier": _any_number,
    "mobile": _mobile,
    "landline": _landline,
    "address": fake_address,
    "plate": _plate,
    "bank_account": _account,
    "card": _card,
    "iban": _iban,
    "email": _email,
    "line_id": _line_id,
    "birthday": fake_date,
    "name": _name,
    "ip": _ip,
}
"""From the folded original to letters and digits, which then are written as the original was."""
