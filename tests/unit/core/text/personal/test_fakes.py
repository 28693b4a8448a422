"""Fakes keep the form, are the same everywhere, and are from ranges that are nobody's where there are such ranges."""

from __future__ import annotations

import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st
from personal_examples import FOUND, marked

from hanlin.core.text.personal.companies import is_company_id
from hanlin.core.text.personal.fakes import fake
from hanlin.core.text.personal.identity import is_national_id, is_resident_id
from hanlin.core.text.personal.money import is_iban, is_luhn
from hanlin.core.text.personal.numerals import han, han_digits, number_of
from hanlin.core.text.personal.recognise import find
from hanlin.core.text.personal.written import plain


def value(text: str) -> str:
    text, start, end = marked(text)
    return text[start:end]


EXAMPLES = [(kind, value(text)) for kind, text in FOUND] + [("ip", "8.8.8.8"), ("ip", "2001:4860:4860::8888")]


@pytest.mark.parametrize("kind, original", EXAMPLES)
def test_a_fake_is_another_value_and_always_the_same(kind, original):
    made = fake(kind, original, 1)
    assert made and made != original and made == fake(kind, original, 1)
    assert made != fake(kind, original, 2)


@pytest.mark.parametrize(
    "kind, original", [e for e in EXAMPLES if e[0] not in ("email", "name", "address", "ip", "birthday")]
)
def test_the_form_stays(kind, original):
    def form(text):
        return ["0" if char.isdigit() else "a" if char.isalpha() else char for char in text]

    made = fake(kind, original, 0)
    assert form(made) == form(original)
    assert [char.isascii() for char in made] == [char.isascii() for char in original]


@given(st.integers())
def test_checked_numbers_are_made_wrong(seed):
    assert not is_national_id(fake("national_id", "A123456789", seed))
    assert not is_resident_id(fake("resident_id", "A800000014", seed))
    assert not is_company_id(fake("company_id", "04595257", seed))
    assert not is_luhn(plain(fake("card", "4111 1111 1111 1111", seed)))
    assert not is_iban(plain(fake("iban", "DE89370400440532013000", seed)))
    assert fake("landline", "(02)2345-6789", seed)[4] in "01"
    assert set("IO") & set(fake("plate", "ABC-1234", seed))
    assert fake("email", "a@b.tw", seed).rpartition("@")[2] in ("example.com", "example.org", "example.net")


@pytest.mark.parametrize(
    "kind, one, other",
    [
        ("national_id", "A123456789", "Ａ-１２３４５６７８９"),
        ("mobile", "0912-345-678", "+886 912 345 678"),
        ("landline", "(02)2345-6789", "+886-2-2345-6789"),
        ("card", "4111111111111111", "4111-1111-1111-1111"),
    ],
)
def test_two_writings_of_one_value_give_one_fake(kind, one, other):
    assert plain(fake(kind, one, 0))[-7:] == plain(fake(kind, other, 0))[-7:]


def test_a_surname_stays_that_persons():
    assert fake("name", "王小明", 0)[0] == fake("name", "王", 0)
    assert len(fake("name", "王小明", 0)) == 3 and len(fake("name", "歐陽小明", 0)) == 4
    assert fake("name", "WANG, HSIAO-MING", 0).isupper()


def test_an_address_stays_in_its_township():
    made = fake("address", "高雄市前鎮區中山二路2號8樓之3", 0)
    assert made.startswith("高雄市前鎮區") and made.count("號") == 1 and "樓之" in made
    assert find(made)[0].kind == "address"


@pytest.mark.parametrize(
    "date", ["民國79年1月2日", "1990/01/02", "0790102", "七十九年一月二日", "01/02/1990", "一九九〇年十二月三日"]
)
def test_a_birthday_stays_in_its_ten_years_and_calendar(date):
    made = fake("birthday", date, 3)
    assert find(f"出生日期：{made}")[0].end == 5 + len(made)
    assert ("民國" in date) == ("民國" in made)
    assert date[:1] == made[:1] or date == "01/02/1990"


@given(st.integers(1, 9999))
def test_han_numerals_are_read_as_written(number):
    assert number_of(han(number)) == number_of(han_digits(number)) == number


def test_han_numerals_are_written_as_people_do():
    assert [han(number) for number in (0, 10, 15, 20, 105, 110, 230, 1005)] == [
        "〇", "十", "十五", "二十", "一百零五", "一百一十", "二百三十", "一千零五",
    ]  # fmt: skip


def test_another_process_makes_the_same_fakes():
    code = "from hanlin.core.text.personal.fakes import fake; print(fake('mobile', '0912345678', 5), end='')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == fake("mobile", "0912345678", 5)
