"""What a recogniser finds, and which of two that overlap stands."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable
from dataclasses import dataclass

KINDS: dict[str, str] = {
    "national_id": "身分證字號",
    "resident_id": "居留證號碼",
    "health_card": "健保卡號",
    "passport": "護照號碼",
    "company_id": "統一編號",
    "carrier": "發票載具",
    "mobile": "手機號碼",
    "landline": "電話號碼",
    "address": "地址",
    "plate": "車牌號碼",
    "bank_account": "銀行帳號",
    "card": "信用卡號",
    "iban": "IBAN",
    "email": "電子郵件",
    "line_id": "LINE ID",
    "birthday": "出生日期",
    "name": "姓名",
    "ip": "IP 位址",
}
"""Every kind of personal data there is, with the name that a mask shows."""

USUAL_KINDS: tuple[str, ...] = tuple(kind for kind in KINDS if kind != "ip")
"""Without network addresses: most of those in text are servers' and examples."""


@dataclass(frozen=True, slots=True)
class Match:
    """text[start:end] is personal data of this kind.

    confidence: 0 to 1, an order, not a probability: 0.9 and more for checked numbers and for a format behind its own
                label, about 0.7 for a format alone, 0.5 and 0.6 for what only looks like a name or an address
    checked:    a checksum was right
    """

    kind: str
    start: int
    end: int
    confidence: float
    checked: bool = False


def resolve(matches: Iterable[Match]) -> list[Match]:
    """The matches that stand, in order of place, none overlapping: a checksum before none, then longer, then
    surer."""

    def rank(match: Match) -> tuple[bool, int, float, int, str]:
        return (not match.checked, match.start - match.end, -match.confidence, match.start, match.kind)

    standing: list[Match] = []
    starts: list[int] = []
    for match in sorted(set(matches), key=rank):
        place = bisect_left(starts, match.end)
        if place == 0 or standing[place - 1].end <= match.start:
            starts.insert(place, match.start)
            standing.insert(place, match)
    return standing
