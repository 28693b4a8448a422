"""Bank accounts, payment cards, IBAN.

Accounts: ten to sixteen digits behind a word for accounts or a bank's code (Financial Information Service,
金融機構代號); each bank has its own check, few publish it. Cards: ISO/IEC 7812-1, the issuer's range and Luhn's
check: from the right every second digit is doubled, the digits of the products are added up, 10 must divide the
sum. IBAN: ISO 13616, the country and its check digits moved to the end, letters as 10 to 35, the number ≡ 1 (mod 97).
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from hanlin.core.text.personal.context import digits_of, free, label
from hanlin.core.text.personal.match import Match
from hanlin.core.text.personal.words import words

BANK_CODES = frozenset(words("bank_codes"))
"""Three digits of each bank, credit cooperative and the post office (700); 5xx, 6xx and 9xx are farmers' and
fishers' unions."""

_ACCOUNT = re.compile(
    r"(?:[(]?(?P<code>[0-9]{3})(?![0-9])[)]?(?P<between>[ -]{0,3}|[ ]?[\u4e00-\u9fff]{2,8}[ ,:]{0,2}))?"
    r"(?P<number>[0-9](?:[ -]?[0-9]){6,15})(?![0-9A-Za-z]|[ -][0-9])"
)
_ACCOUNT_LABEL = re.compile(
    "帳號|帳戶|賬號|匯款|匯入|匯至|轉帳|轉入|戶頭|存摺|銀行|商銀|郵局|局號|扣款|撥款|劃撥|入帳|[Aa]ccount|ACCOUNT|[Aa]cct"
)
_SHORT_LABEL = re.compile("局號|帳號|劃撥|戶頭")
_OTHER_LABEL = re.compile(
    "電話|手機|傳真|專線|身分證|統編|統一編號|訂單|單號|金額|新[臺台]幣|年|卡號|客服|交易|序號|發票|ISBN|條碼|字第|日期|時間|護照|載具"
)

_CARD = re.compile(r"[2-6](?:[ -]?[0-9]){12,18}")
_CARD_LABEL = re.compile("卡號|信用卡|刷卡|金融卡|簽帳|VISA|Visa|Master|JCB|AMEX|銀聯|運通|[Cc]ard|CARD|付款")
_CARD_GROUPS = re.compile(r"[0-9]{4}[ -][0-9]{4}[ -][0-9]{4}[ -][0-9]{4}|3[0-9]{3}[ -][0-9]{6}[ -][0-9]{4,5}")

_IBAN = re.compile(r"[A-Z]{2}[0-9]{2}(?: ?[0-9A-Z]{4}){2,7}(?: ?[0-9A-Z]{1,3})?")
_IBAN_LENGTHS = {country: int(length) for country, length in (item.split("=") for item in words("iban_lengths"))}


def is_luhn(digits: str) -> bool:
    odd, even = digits[-1::-2], digits[-2::-2]
    return (sum(map(int, odd)) + sum(sum(divmod(2 * int(digit), 10)) for digit in even)) % 10 == 0


def is_card(digits: str) -> bool:
    """A right check digit, an issuer's range, and that issuer's length."""
    size, two, four = len(digits), int(digits[:2]), int(digits[:4])
    known = (
        (digits[0] == "4" and size in (13, 16, 19))
        or ((51 <= two <= 55 or 2221 <= four <= 2720) and size == 16)
        or (two in (34, 37) and size == 15)
        or (3528 <= four <= 3589 and 16 <= size <= 19)
        or ((300 <= four // 10 <= 305 or two in (36, 38, 39)) and 14 <= size <= 19)
        or (two == 62 and 16 <= size <= 19)
        or ((four == 6011 or 644 <= four // 10 <= 649 or two == 65) and 16 <= size <= 19)
    )
    return known and is_luhn(digits) and len(set(digits)) > 1


def is_iban(number: str) -> bool:
    """Without blanks: a known country's length, check digits from 02 to 98, and 97."""
    if _IBAN_LENGTHS.get(number[:2]) != len(number) or not "02" <= number[2:4] <= "98":
        return False
    return int("".join(str(int(char, 36)) for char in number[4:] + number[:4])) % 97 == 1


def accounts(text: str) -> Iterator[Match]:
    """With its bank's code, or behind a label. The words nearest before the digits decide."""
    if not _ACCOUNT_LABEL.search(text):
        return
    for found in _ACCOUNT.finditer(text):
        coded = bool(found["code"]) and is_bank_code(found["code"])
        joined = coded and not found["between"].strip(" -")
        start, end = found.start() if joined else found.start("number"), found.end()
        labelled = max(label(text, place, _ACCOUNT_LABEL, _OTHER_LABEL) for place in {found.start(), start})
        if labelled <= 0 or not free(text, start, end):
            continue
        if len(digits_of(found["number"])) < 10 and not (
            joined or _SHORT_LABEL.search(text, max(0, start - 14), start)
        ):
            continue
        yield Match("bank_account", start, end, 0.9 if coded else 0.85)


def is_bank_code(code: str) -> bool:
    return code in BANK_CODES or code[0] in "569"


def cards(text: str) -> Iterator[Match]:
    """Digits in a row of another length than 15 and 16 count only behind a label: many other numbers are that
    long."""
    for found in _CARD.finditer(text):
        digits = digits_of(found[0])
        if not is_card(digits) or not free(text, *found.span()):
            continue
        labelled = label(text, found.start(), _CARD_LABEL)
        written = len(digits) == len(found[0]) or bool(_CARD_GROUPS.fullmatch(found[0]))
        if labelled > 0 or (labelled == 0 and written and len(digits) in (15, 16)):
            yield Match("card", found.start(), found.end(), 0.98 if labelled else 0.85, checked=True)


def ibans(text: str) -> Iterator[Match]:
    for found in _IBAN.finditer(text):
        length = _IBAN_LENGTHS.get(found[0][:2])
        end = found.start()
        for char in found[0]:
            end += 1
            length = length - (char != " ") if length is not None else None
            if length == 0:
                break
        if length == 0 and free(text, found.start(), end) and is_iban(text[found.start() : end].replace(" ", "")):
            yield Match("iban", found.start(), end, 0.98, checked=True)
