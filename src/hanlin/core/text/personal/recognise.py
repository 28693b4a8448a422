"""All recognisers as one: the personal data in a text.

Most recognisers begin with a character that is rare in running Chinese (a digit, a capital, @, the first character
of a label), so that looking through a text in which there is nothing costs little more than reading it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence

from hanlin.core.text.personal.addresses import addresses
from hanlin.core.text.personal.birthdays import birthdays
from hanlin.core.text.personal.companies import carriers, company_ids
from hanlin.core.text.personal.folding import fold
from hanlin.core.text.personal.identity import health_cards, passports, persons
from hanlin.core.text.personal.internet import emails, line_ids, network_addresses
from hanlin.core.text.personal.match import USUAL_KINDS, Match, resolve
from hanlin.core.text.personal.money import accounts, cards, ibans
from hanlin.core.text.personal.names import again, names
from hanlin.core.text.personal.phones import landlines, mobiles
from hanlin.core.text.personal.plates import plates

RECOGNISERS: dict[Callable[[str], Iterable[Match]], tuple[frozenset[str], tuple[str, ...]]] = {
    persons: (frozenset({"national_id", "resident_id"}), ()),
    health_cards: (frozenset({"health_card"}), ("健保",)),
    passports: (frozenset({"passport"}), ("護照", "assport", "ASSPORT")),
    company_ids: (frozenset({"company_id"}), ("編", "VAT", "ax ID", "nified")),
    carriers: (frozenset({"carrier"}), ("載具", "條碼", "憑證", "3J0002", "CQ0001")),
    mobiles: (frozenset({"mobile"}), ("9",)),
    landlines: (frozenset({"landline"}), ("0", "+886")),
    addresses: (frozenset({"address"}), ("號",)),
    plates: (frozenset({"plate"}), ("車", "牌", "駕駛", "騎乘", "plate", "PLATE", "Plate")),
    accounts: (frozenset({"bank_account"}), ()),
    cards: (frozenset({"card"}), ()),
    ibans: (frozenset({"iban"}), ()),
    emails: (frozenset({"email"}), ("@",)),
    line_ids: (frozenset({"line_id"}), ("ine", "INE", "賴")),
    birthdays: (frozenset({"birthday"}), ("生", "irth", "DOB", "orn")),
    names: (frozenset({"name"}), ()),
    network_addresses: (frozenset({"ip"}), (".", ":")),
}
"""Each with the kinds it finds, and the characters of which one must be in the text for it to find anything (none: it
always looks). All of them read folded text."""


def find(text: str, kinds: Collection[str] = USUAL_KINDS, min_confidence: float = 0.5) -> list[Match]:
    """The personal data of these kinds, in order of place, not overlapping. Spans are of the text as it is.

    A number of a kind that isn't asked for still keeps its digits from being taken for another.
    """
    return find_all([text], kinds, min_confidence)[0]


def find_all(
    texts: Sequence[str], kinds: Collection[str] = USUAL_KINDS, min_confidence: float = 0.5
) -> list[list[Match]]:
    """The same for texts that belong together, such as a conversation's messages: a name found in one is found in
    all."""
    wanted = frozenset(kinds)
    folded = [fold(text) for text in texts]
    matches = [[match for match in _candidates(text, wanted) if match.confidence >= min_confidence] for text in folded]
    if len(texts) > 1 and "name" in wanted:
        known = {
            text[match.start : match.end]
            for text, found in zip(folded, matches)
            for match in found
            if match.kind == "name" and match.confidence >= 0.6
        }
        matches = [[*found, *again(text, known)] for text, found in zip(folded, matches)]
    return [[match for match in resolve(found) if match.kind in wanted] for found in matches]


def _candidates(text: str, wanted: frozenset[str]) -> Iterator[Match]:
    for recogniser, (kinds, signs) in RECOGNISERS.items():
        if (kinds & wanted or kinds & _DIGITS) and (not signs or any(sign in text for sign in signs)):
            yield from recogniser(text)


_DIGITS = frozenset(
    {"national_id", "resident_id", "company_id", "mobile", "landline", "bank_account", "card", "passport"}
)
