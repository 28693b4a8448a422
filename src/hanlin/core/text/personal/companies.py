"""統一編號 of companies, and carriers of electronic invoices.

統一編號 (Ministry of Finance, 營利事業統一編號檢查碼邏輯): eight digits by the weights 1 2 1 2 1 2 4 1; the digits
of each product are added up, and 5 must divide the sum (10 until March 2023). If the seventh digit is 7, its
product 28 gives 1 + 0 or 0 + 1 as well as 10, so that 5 may divide the sum plus one instead. One number in four
passes: without its label it is none.

載具 (Ministry of Finance, 電子發票實施作業要點): 手機條碼 is a slash and seven of 0-9 A-Z + - . (Code 39);
自然人憑證條碼 two capital letters and fourteen digits.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from hanlin.core.text.personal.context import digits_of
from hanlin.core.text.personal.match import Match

_WEIGHTS = (1, 2, 1, 2, 1, 2, 4, 1)
_COMPANY = re.compile(
    r"(?:統一編號|統編|營業人編號|扣繳單位編號|買受人編號"
    r"|VAT(?: ID| No\.?)?|[Tt]ax ID|[Uu]nified [Bb]usiness [Nn](?:o\.?|umber))"
    r"(?:[^0-9A-Za-z\n]{0,10}|[^0-9A-Za-z\n]{0,4}\n[^0-9A-Za-z\n]{0,4})"
    r"([0-9](?:[ -]?[0-9]){7})(?![0-9A-Za-z]|[.-][0-9])"
)
_PHONE_CARRIER = re.compile(r"(?:載具|手機條碼|共通性條碼|3J0002)[^/\n]{0,14}(/[0-9A-Z+.-]{7})(?![0-9A-Za-z+])")
_CERTIFICATE = re.compile(r"(?:載具|憑證條碼|自然人憑證|CQ0001)[^A-Za-z\n]{0,14}([A-Z]{2}[0-9]{14})(?![0-9A-Za-z])")


def is_company_id(number: str) -> bool:
    """Eight digits: a right 統一編號."""
    if not re.fullmatch("[0-9]{8}", number) or number == "00000000":
        return False
    total = sum(sum(divmod(weight * int(digit), 10)) for weight, digit in zip(_WEIGHTS, number))
    return total % 5 == 0 or (number[6] == "7" and (total + 1) % 5 == 0)


def company_ids(text: str) -> Iterator[Match]:
    for found in _COMPANY.finditer(text):
        if is_company_id(digits_of(found[1])):
            yield Match("company_id", *found.span(1), 0.95, checked=True)


def carriers(text: str) -> Iterator[Match]:
    for pattern in (_PHONE_CARRIER, _CERTIFICATE):
        for found in pattern.finditer(text):
            yield Match("carrier", *found.span(1), 0.95)
