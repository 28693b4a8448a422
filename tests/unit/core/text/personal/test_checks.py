"""Check digits: known right numbers, made ones, and what a wrong digit does."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hanlin.core.text.personal.companies import is_company_id
from hanlin.core.text.personal.identity import LETTERS, is_national_id, is_resident_id, weighted_sum
from hanlin.core.text.personal.money import is_card, is_iban, is_luhn

digits = st.text("0123456789", min_size=1)
letters = st.sampled_from(sorted(LETTERS))
WEIGHTS = (8, 7, 6, 5, 4, 3, 2, 1, 1)


@st.composite
def person_ids(draw, second="12"):
    start = draw(letters) + draw(st.sampled_from(second)) + draw(st.text("0123456789", min_size=7, max_size=7))
    return start + str(-weighted_sum(start + "0") % 10)


@st.composite
def changed_digits(draw, numbers, first=0):
    """A number, the place of one of its digits, and another digit for it."""
    number = draw(numbers)
    place = draw(st.sampled_from([place for place in range(first, len(number)) if number[place].isdigit()]))
    return number, place, draw(st.sampled_from([digit for digit in "0123456789" if digit != number[place]]))


def with_digit(number, place, digit):
    return number[:place] + digit + number[place + 1 :]


def test_numbers_that_are_published_as_examples():
    assert is_national_id("A123456789")
    assert is_resident_id("A800000014")
    assert is_company_id("04595257") and is_company_id("22099131")
    assert is_card("4111111111111111") and is_card("378282246310005") and is_card("3530111333300000")
    assert is_iban("GB82WEST12345698765432") and is_iban("DE89370400440532013000")


@pytest.mark.parametrize("number", ["A323456789", "1123456789", "A12345678", "a123456789", "A1234567890", ""])
def test_other_forms_are_no_identity_numbers(number):
    assert not is_national_id(number) and not is_resident_id(number)


def test_each_letter_has_a_number_of_its_own():
    assert sorted(LETTERS.values()) == list(range(10, 36))
    assert (LETTERS["I"], LETTERS["O"], LETTERS["W"], LETTERS["Z"]) == (34, 35, 32, 33)


@given(person_ids(), person_ids("89ABCD"))
def test_made_numbers_are_right(national, resident):
    assert is_national_id(national) and is_resident_id(resident)


@given(changed_digits(person_ids(), first=2))
def test_a_wrong_digit_is_seen_unless_weight_times_change_is_a_multiple_of_ten(change):
    number, place, digit = change
    hidden = WEIGHTS[place - 1] * (int(digit) - int(number[place])) % 10 == 0
    assert is_national_id(with_digit(number, place, digit)) == hidden
    if WEIGHTS[place - 1] in (1, 3, 7):
        assert not hidden


@given(changed_digits(person_ids("89"), first=2))
def test_the_new_residence_number_is_checked_the_same_way(change):
    number, place, digit = change
    hidden = WEIGHTS[place - 1] * (int(digit) - int(number[place])) % 10 == 0
    assert is_resident_id(with_digit(number, place, digit)) == hidden


@given(st.text("0123456789", min_size=12, max_size=18).filter(str))
def test_luhn_sees_every_wrong_digit(body):
    number = next(body + digit for digit in "0123456789" if is_luhn(body + digit))
    for place in range(len(number)):
        for digit in set("0123456789") - {number[place]}:
            assert not is_luhn(with_digit(number, place, digit))


@given(changed_digits(st.just("DE89370400440532013000"), first=2))
def test_iban_sees_every_wrong_digit(change):
    assert not is_iban(with_digit(*change))


@given(st.text("0123456789", min_size=8, max_size=8))
def test_company_ids_follow_the_rule_written_another_way(number):
    """Divisible by 5, with 10 → 1 and 28 → 10 → 1 or 0 as the ministry's table has it."""
    products = [int(digit) * weight for digit, weight in zip(number, (1, 2, 1, 2, 1, 2, 4, 1))]
    sums = [product // 10 + product % 10 for product in products]
    choices = {sum(sums)}
    if number[6] == "7":
        rest = sum(sums) - sums[6]
        choices = {rest + 1, rest}
    expected = number != "00000000" and any(total % 5 == 0 for total in choices)
    assert is_company_id(number) == expected


@pytest.mark.parametrize("number", ["4111111111111112", "9111111111111111", "411111111111111", "4444444444444444"])
def test_a_card_needs_its_check_its_issuer_and_its_length(number):
    assert not is_card(number)
